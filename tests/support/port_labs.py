"""Runs whose ports are tried, one class per driver: in memory, and over streams. No tests here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import redis
import redis.asyncio
import redis.exceptions

from broker.control_entries import PlanChange, Planned
from broker.memory.run_control import MemoryEvidenceReader, MemoryFleetLog, MemoryRunControl
from broker.memory.server import MemoryServer, memory_ports
from broker.ports.robot import Delivery, Ports
from broker.ports.run import FleetLog, RunSpec
from broker.relay.core import Copy
from broker.streams.connection import connect, connect_async
from broker.streams.keys import Keys
from broker.streams.robot.ports import ports_for
from broker.streams.run.control import StreamRunControl
from broker.streams.run.events import StreamEventLog, StreamEventSource
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from telemetry.clock import SystemClock

PLAN = PlanChange((Planned(0, "loss 0.5"),))
WAIT_US = 20_000
LONG_US = 2_000_000

run_numbers = count()


def run_spec(run: str, robots: tuple[str, ...]) -> RunSpec:
    return RunSpec(run, 2, PLAN, {robot: [b"header", b"part of " + robot.encode()] for robot in robots}, b"terms")


class MemoryLab:
    """A run in memory, and what a test may do to its streams from outside."""

    def __init__(self, *robots: str, outbox_limit: int = 1000, inbox_limit: int = 1000) -> None:
        self._server = MemoryServer(SystemClock(), outbox_limit, inbox_limit)
        self.run_control = MemoryRunControl(self._server)
        self.evidence = MemoryEvidenceReader(self._server)
        self.run_control.deal(run_spec("run", robots))

    def life(self, robot: str, nonce: str) -> Ports:
        return memory_ports(self._server, robot, nonce)

    def deliver(self, robot: str, frame: bytes, number: int = 0) -> None:
        self._server.deliver(Copy((1, 1), number, robot, frame, 0))

    def trim_inbox(self, robot: str) -> None:
        self._server.trim_inbox(robot)

    def fleet_log(self) -> FleetLog:
        return MemoryFleetLog(self._server)

    def lose_journal(self, robot: str) -> None:
        del self._server.journals[robot]

    def lose_register(self) -> None:
        self._server.register = None

    def forget_in_journal(self, robot: str, number: int) -> None:
        del self._server.journals[robot].rows[-number:]

    def forget_in_births(self, robot: str, number: int) -> None:
        del self._server.births[robot][-number:]

    def play(self, story: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            await story()

        asyncio.run(whole())


class StreamsLab:
    """The same over streams."""

    def __init__(
        self,
        url: str,
        *robots: str,
        outbox_limit: int = 1000,
        inbox_limit: int = 1000,
        through: str | None = None,
        retry_s: float = 5.0,
    ) -> None:
        self.run = f"t{next(run_numbers)}"
        self.keys = Keys(self.run)
        self.server = self.connect(url)
        self.run_control = StreamRunControl(self.server, self.run)
        self.evidence = StreamEvidenceReader(self.server, self.run)
        self.run_control.deal(run_spec(self.run, robots))
        self._url = through or url
        self._outbox_limit = outbox_limit
        self._inbox_limit = inbox_limit
        self._retry_s = retry_s
        self._clients: list[redis.asyncio.Redis] = []

    def connect(self, url: str) -> redis.Redis:
        return connect(url)

    def connect_async(self, url: str) -> redis.asyncio.Redis:
        return connect_async(url)

    def life(self, robot: str, nonce: str) -> Ports:
        return ports_for(
            self._client(), self.run, robot, nonce, 2, outbox_limit=self._outbox_limit, retry_s=self._retry_s
        )

    def _client(self) -> redis.asyncio.Redis:
        client = self.connect_async(self._url)
        self._clients.append(client)
        return client

    def deliver(self, robot: str, frame: bytes, number: int = 0) -> None:
        self.put_by_hand(robot, {"envelope": frame, "copy": number})

    def put_by_hand(self, robot: str, fields: dict[str, bytes | int]) -> None:
        self.server.xadd(self.keys.inbox(robot), fields, maxlen=self._inbox_limit, approximate=False)

    def trim_inbox(self, robot: str) -> None:
        self.server.xtrim(self.keys.inbox(robot), maxlen=0, approximate=False)

    def event_log(self) -> StreamEventLog:
        return StreamEventLog(self._client(), self.keys.events)

    def event_source(self, keep: int | None = None) -> StreamEventSource:
        return StreamEventSource(self.server, self.keys.events, keep)

    def fleet_log(self) -> FleetLog:
        return StreamFleetLog(self.server, self.run)

    def lose_journal(self, robot: str) -> None:
        self.server.delete(self.keys.journal(robot))

    def lose_register(self) -> None:
        self.server.delete(self.keys.register)

    def forget_in_journal(self, robot: str, number: int) -> None:
        self.forget(self.keys.journal(robot), number)

    def forget_in_births(self, robot: str, number: int) -> None:
        self.forget(self.keys.birth(robot), number)

    def forget(self, key: str, number: int) -> None:
        """Let a stream be as it was before its last entries."""
        kept = self.server.xrange(key)[:-number]
        with self.server.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            for entry, fields in kept:
                pipe.xadd(key, fields, id=entry)
            pipe.execute()

    def play(self, story: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            try:
                await story()
            finally:
                for client in self._clients:
                    await client.aclose()

        try:
            asyncio.run(whole())
        finally:
            self.server.close()


Lab = MemoryLab | StreamsLab
MakeLab = Callable[..., Lab]


async def receive_all(ports: Ports, limit: int = 10) -> list[Delivery]:
    """Everything there is now: asks until nothing comes."""
    received: list[Delivery] = []
    while batch := await ports.inbox.receive(limit, WAIT_US):
        received += batch
    return received


async def exchange_letters(lab: Lab, reader: Ports, number: int) -> None:
    """Let so many entries come, and be read and acknowledged soon enough."""
    for _ in range(0, number, 50):
        for _ in range(50):
            lab.deliver("r00", b"soon read")
        while batch := await reader.inbox.receive(64, 0):
            for delivery in batch:
                reader.inbox.acknowledge(delivery.entry)
