"""Two hosts with a slow link between them and clocks that differ, and a server on the first one. No tests here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
from redis.exceptions import RedisError

from broker.parent_death import die_with_parent
from broker.streams.connection import connect
from broker.streams.embedded import find_binary
from tests.support.checkout import ROOT
from tests.support.delaying_link import ADDRESSES, DEVICE
from tests.support.waiting import await_true

PORT: Final = 6379
_CLOCK: Final = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long ahead(void) { const char *text = getenv("CLOCK_AHEAD_S"); return text ? atol(text) : 0; }
int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return (int)result;
}
int gettimeofday(struct timeval *now, void *zone) {
    long result = syscall(SYS_gettimeofday, now, zone);
    if (!result) now->tv_sec += ahead();
    return (int)result;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""
"""A library that moves the wall clock, and that alone: monotonic clocks and waits stay what they are. Debian 12's
libfaketime cannot do that: with it, every sleep on a monotonic clock fails."""


def missing() -> str:
    """Why there are no two hosts here; empty: nothing is missing."""
    if os.environ.get("NETNS_TESTS") != "1":
        return "two hosts are made with NETNS_TESTS=1"
    if os.geteuid() != 0:
        return "two hosts need root"
    if not Path("/dev/net/tun").exists():
        return "two hosts need /dev/net/tun"
    absent = [name for name in ("ip", "nsenter", "setpriv", "cc") if shutil.which(name) is None]
    return f"two hosts need the programs {', '.join(absent)}" if absent else ""


class Host(msgspec.Struct, frozen=True):
    """Where a command runs: what stands before its words, and what is added to its environment."""

    prefix: tuple[str, ...]
    environment: Mapping[str, str]


class TwoHosts:
    """`a` has the server; the clock of `b` is `b_ahead_s` ahead. All of it is gone when the block is left, or this
    process dies."""

    def __init__(self, folder: Path, delay_s: float, b_ahead_s: int) -> None:
        command = [sys.executable, "-m", "tests.support.delaying_link", str(delay_s), str(os.getpid())]
        self._link = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._link.stdout is not None
        self._namespaces = self._link.stdout.readline().split()
        self.a = Host(self._inside(0), {})
        self.b = Host(self._inside(1), {"LD_PRELOAD": str(_clock(folder)), "CLOCK_AHEAD_S": str(b_ahead_s)})
        self.url = f"redis://{ADDRESSES[0]}:{PORT}"
        self._server = self._start_server(folder)

    def set_link(self, command: str) -> None:
        """`delay .05` (seconds each way), or `loss .2`; from now on."""
        assert self._link.stdin is not None
        self._link.stdin.write(f"{command}\n")

    def switch_link(self, state: str) -> None:
        """Let the network device of `b` be `up` or `down`."""
        subprocess.run([*self.b.prefix, "ip", "link", "set", DEVICE, state], check=True)

    def __enter__(self) -> TwoHosts:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for process in (self._server, self._link):
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def _inside(self, number: int) -> tuple[str, ...]:
        network, names = (f"/proc/{self._link.pid}/fd/{fd}" for fd in self._namespaces[2 * number : 2 * number + 2])
        return ("setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={network}", f"--uts={names}")

    def _start_server(self, folder: Path) -> subprocess.Popen[str]:
        parent, local = os.getpid(), folder / "server.sock"
        options = {
            "port": PORT,
            "bind": ADDRESSES[0],
            "protected-mode": "no",
            "unixsocket": local,
            "appendonly": "yes",
            "save": "",
            "dir": folder,
        }
        words = (str(word) for name, value in options.items() for word in (f"--{name}", value))
        server = subprocess.Popen(
            [*self.a.prefix, str(find_binary()), *words],
            stdout=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509 - no threads yet
        )
        self.local_url = f"unix://{local}"
        with connect(self.local_url) as client:
            await_true(lambda: _answers(client), what="a server on the first host")
        return server


def _clock(folder: Path) -> Path:
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library


def _answers(client: object) -> bool:
    try:
        return bool(client.ping())  # type: ignore[attr-defined]
    except RedisError:
        return False
