"""Processes that kill themselves at a point of their work: ports of a robot's life that report its points, and relays.

A robot's point is named by what a port does, and by whether that is about to be done or has just been done:
`after journal birth`. What a relay's points are, broker/relay/core.py says. No tests here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import redis.asyncio

from broker.control_entries import Control
from broker.ports.robot import GREATEST_ID, Delivery, JournalRow, Order, Ports, SendResult
from broker.relay.core import Failpoint
from broker.streams.relay.driver import RelayDriver
from broker.streams.robot.ports import ports_for
from robots.journal import Born, Quieted, decode_entry


class Doom:
    """One death in a run: of the first of its processes that passes `point` for the `nth` time in its life.

    To be made before the processes are forked. The file decides who is first, and proves that somebody died there.
    """

    def __init__(self, point: str, nth: int, file: Path) -> None:
        self.point = point
        self._nth = nth
        self._file = file
        self._passed = 0  # by this process

    def failpoint(self, who: str, point: str) -> None:
        """The process `who` passes a point. It may be its last."""
        if point == self.point:
            self._passed += 1
            if self._passed == self._nth:
                self._inject(who)

    @property
    def victim(self) -> str | None:
        """Who died; None: no process has come there."""
        return self._file.read_text() if self._file.exists() else None

    def _inject(self, who: str) -> None:
        try:
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return  # somebody was faster, perhaps our own last life
        os.write(file, who.encode())
        os.kill(os.getpid(), signal.SIGKILL)


class MortalPorts:
    """What a life can reach: all of `ports.Ports` that leaves something behind, as one object."""

    def __init__(self, ports: Ports, failpoint: Failpoint) -> None:
        self._ports = ports
        self._failpoint = failpoint
        self._unsent = 0  # acknowledgements
        self._is_news_unacknowledged = False

    @contextmanager
    def _act(self, name: str) -> Iterator[None]:
        self._failpoint(f"before {name}")
        yield
        self._failpoint(f"after {name}")

    # The outbox

    async def send(self, frame: bytes) -> SendResult:
        with self._act("send"):
            return await self._ports.outbox.send(frame)

    async def announce(self, control: Control) -> None:
        with self._act("outbox birth"):
            await self._ports.outbox.announce(control)

    def take_forgotten(self) -> bool:
        return self._ports.outbox.take_forgotten()

    # The inbox

    @property
    def lost(self) -> int:
        return self._ports.inbox.lost

    async def receive(self, limit: int, wait_us: int) -> list[Delivery]:
        travelling, self._unsent = self._unsent, 0
        deliveries = await self._ports.inbox.receive(limit, wait_us)
        if travelling:
            self._failpoint("after acknowledgements")
        if deliveries:
            self._failpoint("after receive")
        return deliveries

    def acknowledge(self, entry: str) -> None:
        """After the merger has journalled, it publishes and acknowledges in one go: that entry brought the news."""
        name = "acknowledge news" if self._is_news_unacknowledged else "acknowledge"
        self._is_news_unacknowledged = False
        with self._act(name):
            self._ports.inbox.acknowledge(entry)
            self._unsent += 1

    async def flush(self) -> None:
        await self._ports.inbox.flush()

    # The journal

    foreign = 0

    async def replay(self) -> list[JournalRow]:
        return await self._ports.journal.replay()

    async def append(self, incarnation: int, contents: Sequence[bytes]) -> None:
        kind = type(decode_entry(contents[0]))
        name = {Born: "birth", Quieted: "quiet"}.get(kind, "parts")
        with self._act(f"journal {name}"):
            await self._ports.journal.append(incarnation, contents)
            self._is_news_unacknowledged = name == "parts"

    async def restore(self) -> bool:
        return await self._ports.journal.restore()

    # The register

    async def announce_birth(self, incarnation: int) -> None:
        with self._act("register birth"):
            await self._ports.register.announce_birth(incarnation)

    async def write(self, secret: bytes, entry: str = GREATEST_ID) -> str | None:
        with self._act("write"):
            return await self._ports.register.write(secret, entry)

    async def restore_birth(self) -> bool:
        return await self._ports.register.restore_birth()

    # The orders

    async def read(self, wait_us: int) -> list[Order]:
        self._failpoint("before orders")
        orders = await self._ports.orders.read(wait_us)
        for order in orders:
            self._failpoint(f"after order {order.order}")
        return orders


def mortal_ports(*dooms: Doom) -> Callable[..., Ports]:
    """`ports_for` whose ports lead to the dooms."""

    def make(client: redis.asyncio.Redis, run: str, robot: str, nonce: str, shards: int) -> Ports:
        ports = ports_for(client, run, robot, nonce, shards)
        mortal = MortalPorts(ports, _failpoint(robot, dooms))
        return msgspec.structs.replace(
            ports, outbox=mortal, inbox=mortal, journal=mortal, register=mortal, orders=mortal
        )

    return make


def mortal_relay(*dooms: Doom) -> Callable[..., RelayDriver]:
    """`RelayDriver` whose points (broker/relay/core.py) lead to the dooms."""

    def make(url: str, run: str, shards: tuple[int, ...], *rest: Any, **more: Any) -> RelayDriver:
        return RelayDriver(url, run, shards, *rest, failpoint=_failpoint(f"relay:{shards[0]}", dooms), **more)

    return make


def _failpoint(who: str, dooms: Sequence[Doom]) -> Failpoint:
    def failpoint(point: str) -> None:
        for doom in dooms:
            doom.failpoint(who, point)

    return failpoint
