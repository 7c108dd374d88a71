"""Two hosts in network namespaces, with a slow and faulty link between them, as one process. No tests here.

    python -m tests.support.delaying_link 0.05

The link is a pair of TUN devices, one in each namespace, and this process carries every packet from one to the other:
after a delay (seconds, each way), and with a probability of loss. So whatever runs in the namespaces meets real TCP
over a slow network, and no kernel module is needed. Commands come on stdin, a line each: `delay .05`, `loss .2`.

Nothing has a name outside of this process: namespaces and devices are gone with it, and with what still runs in them.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import select
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count
from random import Random
from typing import Final

from broker.parent_death import die_with_parent

DEVICE: Final = "robots0"
ADDRESSES: Final = ("10.77.0.1", "10.77.0.2")
NAMES: Final = ("host-a", "host-b")
_NEWUTS: Final = 0x04000000
_NEWNET: Final = 0x40000000
_SET_TUN: Final = 0x400454CA
_PLAIN_TUN: Final = 0x0001 | 0x1000  # IP packets, without a header of their own
_PACKET: Final = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


class Link:
    """Carries packets between two TUN devices."""

    def __init__(self, ends: tuple[int, int], delay_s: float) -> None:
        self._other = dict(zip(ends, reversed(ends), strict=True))
        self._delay_s = delay_s
        self._loss = 0.0
        self._chance = Random(7)
        self._on_their_way: list[tuple[float, int, int, bytes]] = []
        self._order = count()

    def change(self, command: str) -> None:
        """Change the link from now on."""
        verb, _, number = command.partition(" ")
        if verb == "delay":
            self._delay_s = float(number)
        elif verb == "loss":
            self._loss = float(number)

    def carry(self, control: int) -> None:
        """Until nothing more can come from `control`."""
        while True:
            ready, _, _ = select.select([control, *self._other], [], [], self._until_next_s())
            if control in ready:
                commands = os.read(control, _PACKET).decode()
                if not commands:
                    return
                for command in commands.splitlines():
                    self.change(command)
            for end in set(ready) & set(self._other):
                self._take(end)
            self._deliver()

    def _take(self, end: int) -> None:
        with suppress(BlockingIOError):
            while packet := os.read(end, _PACKET):
                if self._chance.random() >= self._loss:
                    due_s = time.monotonic() + self._delay_s
                    heapq.heappush(self._on_their_way, (due_s, next(self._order), self._other[end], packet))

    def _deliver(self) -> None:
        now_s = time.monotonic()
        while self._on_their_way and self._on_their_way[0][0] <= now_s:
            _, _, end, packet = heapq.heappop(self._on_their_way)
            with suppress(OSError):  # the device is down: the packet is lost
                os.write(end, packet)

    def _until_next_s(self) -> float | None:
        return max(0.0, self._on_their_way[0][0] - time.monotonic()) if self._on_their_way else None


def make_host(address: str, name: str) -> int:
    """Enter a new namespace, and open its end of the link there. Its namespaces are those of this process until the
    next call."""
    if _libc.unshare(_NEWNET | _NEWUTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    socket.sethostname(name)
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, _SET_TUN, struct.pack("16sH22x", DEVICE.encode(), _PLAIN_TUN))
    for words in (f"address add {address}/24 dev {DEVICE}", f"link set {DEVICE} up", "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    return end


def main() -> None:
    die_with_parent(int(sys.argv[2]))
    ends, namespaces = [], []
    for address, name in zip(ADDRESSES, NAMES, strict=True):
        ends.append(make_host(address, name))
        namespaces.append([os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts")])
    print(*(fd for host in namespaces for fd in host), flush=True)
    Link((ends[0], ends[1]), float(sys.argv[1])).carry(sys.stdin.fileno())


if __name__ == "__main__":
    main()
