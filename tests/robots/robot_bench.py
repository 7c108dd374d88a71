"""One robot on a bench: memory ports, virtual time, and the test in the place of all other robots. No tests here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import TypeVar

from broker.envelope import Envelope, decode, encode
from broker.memory.run_control import MemoryRunControl
from broker.memory.server import MemoryServer, memory_ports
from broker.ports.robot import Ports
from broker.relay.core import Copy
from robots.channel import Watch
from robots.journal import Entry, PartKept, decode_entry
from robots.knowledge import from_bytes
from robots.messages import Answer, Message, Summary, decode_message, encode_message, kind_of
from robots.robot import Outside, live
from robots.run.deal import Deal, Terms
from robots.secret import Part, cut
from robots.simulation.virtual_time import VirtualClock, run_virtually
from robots.supervision import RestartPolicy
from telemetry.events import RobotBorn, Stamped
from tests.support.plan_change import plan_change

T = TypeVar("T")
RUN = "bench"
SECRET = "one two three four five six"
PARTS = cut(SECRET)
ALL = (1 << len(PARTS)) - 1


class Bench:
    """A dealt run of which the test makes only some robots live."""

    def __init__(self, clock: VirtualClock, secret: str, robots: int = 2, quiet_us: int = 500_000) -> None:
        self.clock = clock
        self.server = MemoryServer(clock)
        self.run_control = MemoryRunControl(self.server)
        self.deal = Deal(secret, robots, 1, 1)
        self.terms = Terms(robots, 1, 1, 100_000, quiet_us, 0)
        self.run_control.deal(self.deal.run_spec(RUN, self.terms, plan_change()))
        self.events: list[Stamped] = []
        self.lives: list[asyncio.Task[str]] = []
        self.ports: list[Ports] = []  # of each life, for tests that make them fail
        self._recalled: list[Watch[bool]] = []  # of each life
        self._sent = 0

    def give_birth(self, robot: str, policy: RestartPolicy | None = None, nonce: str = "") -> asyncio.Task[str]:
        """Begin a life of `robot`; it starts to gossip after `go`."""
        nonce = nonce or f"nonce-{len(self.lives)}"
        self.ports.append(memory_ports(self.server, robot, nonce))
        self._recalled.append(Watch(False))
        outside = Outside(
            self.ports[-1],
            self.clock,
            Random(nonce),
            nonce,
            self.events.append,
            policy or RestartPolicy(),
            self._recalled[-1],
        )
        life = asyncio.ensure_future(live(RUN, robot, outside))
        self.lives.append(life)
        return life

    def recall(self) -> None:
        """Recall the life that was begun last."""
        self._recalled[-1].set(True)

    async def begin(self, robot: str) -> None:
        """Begin a life of `robot`, and let it gossip."""
        self.give_birth(robot)
        self.run_control.order("go")
        await self.eventually(lambda: self.happened(RobotBorn))

    def put(
        self,
        robot: str,
        sender: str,
        message: Message,
        *,
        exchange: bytes = b"exchange",
        copy: int = 0,
        sequence: int = 0,
    ) -> int:
        """Put a message into the inbox of `robot`, as the relay would; gives its sequence number."""
        self._sent += 1
        number = sequence or self._sent
        envelope = Envelope(RUN, sender, 1, robot, number, exchange, kind_of(message), encode_message(message))
        self.put_frame(robot, encode(envelope), copy)
        return number

    def put_frame(self, robot: str, frame: bytes, copy: int = 0) -> None:
        """Put anything into the inbox of `robot`."""
        self.server.deliver(Copy((0, 0), copy, robot, frame, 0))

    def sent(self) -> list[tuple[Envelope, Message]]:
        """Everything that stands in the outbox, decoded; taken away."""
        fresh = self.server.outboxes[0].fresh
        entries = [fresh.popleft() for _ in range(len(fresh))]
        envelopes = [decode(entry.frame) for entry in entries if entry.frame is not None]
        return [(envelope, decode_message(envelope.kind, envelope.body)) for envelope in envelopes]

    def journal(self, robot: str) -> list[tuple[int, Entry]]:
        """What stands in the journal of `robot`, with the incarnations."""
        return [(row.incarnation, decode_entry(row.content)) for row in self.server.journals[robot].rows]

    def happened(self, kind: type[T]) -> list[T]:
        """The events of one kind so far."""
        return [stamped.event for stamped in self.events if isinstance(stamped.event, kind)]

    async def eventually(self, fact: Callable[[], object], within_s: float = 20) -> None:
        """Let virtual time pass until `fact` holds."""
        deadline = self.clock.monotonic_us() + within_s * 1_000_000
        while not fact():
            assert self.clock.monotonic_us() < deadline, f"not within {within_s} virtual seconds"
            await asyncio.sleep(0.005)

    async def eventually_sent(self, kind: type[Message], exchange: bytes | None = None) -> list[Envelope]:
        """Let virtual time pass until a message of that kind is sent (in that exchange); the envelopes of all such."""
        found: list[Envelope] = []

        def was_sent() -> bool:
            found.extend(
                envelope
                for envelope, message in self.sent()
                if isinstance(message, kind) and exchange in (None, envelope.exchange)
            )
            return bool(found)

        await self.eventually(was_sent)
        return found[:1]

    async def end(self) -> None:
        """Order all lives to stop, and see them end."""
        self.run_control.order("stop", b"complete")
        for life in self.lives:
            if not life.done():
                await life


def on_the_bench(scenario: Callable[[Bench], Coroutine[object, object, None]], **options: int) -> None:
    """Run a scenario of one robot, r00, and order it to stop at the end."""

    async def main(clock: VirtualClock) -> None:
        bench = Bench(clock, SECRET, **options)
        await scenario(bench)
        await bench.end()

    run_virtually(main)


def held(bench: Bench) -> list[int]:
    return [entry.part.index for _, entry in bench.journal("r00") if isinstance(entry, PartKept)]


def missing(bench: Bench) -> tuple[Part, ...]:
    return tuple(part for part in PARTS if part.index not in held(bench))


def born(bench: Bench, lives: int = 1) -> Callable[[], bool]:
    return lambda: len(bench.happened(RobotBorn)) >= lives


async def be_an_equal_peer(bench: Bench) -> None:
    """Answer "equal" to every summary of r00 that shows everything, and nothing to any other."""
    while True:
        for envelope, message in bench.sent():
            if isinstance(message, Summary):
                answer = Answer(equal=from_bytes(message.known) == ALL, attempt=message.attempt)
                bench.put("r00", envelope.receiver, answer, exchange=envelope.exchange)
        await asyncio.sleep(0.005)
