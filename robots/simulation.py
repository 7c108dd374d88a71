"""The whole lab in one process and no time at all: the same robots, relay and plan over the memory ports.

One seed gives one history, bit for bit. Whatever differs between live and simulated stands in this file: the loop, the
ports, and a director in the place of the fleet's parent.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, Final

import msgspec

from broker.conductor import Conductor
from broker.memory import MemoryDesk, MemoryServer, memory_ports
from broker.memory_relay import MemoryRelay
from broker.plan import PlanChange
from broker.ports import Evidence
from broker.schedule import Timed
from robots.deal import Deal
from robots.ending import Bounds, ending
from robots.recording import fate_rows, journal_rows, plan_rows, register
from robots.robot import Outside, Terms, live
from robots.virtual_time import VirtualClock, run_virtually
from telemetry.events import RunDealt, RunStarted, RunStopped, Stamped
from telemetry.pipeline import Emitter
from telemetry.view import View, fold

LOOK_US: Final = 10_000  # how often the director looks whether the run has ended

Look = Callable[[View, int], str | None]
"""Shown the view and the virtual microseconds now and then; gives a reason to end the run at once, or None."""


class Simulated(msgspec.Struct, frozen=True):
    """A run that has ended: its evidence and its events, in the order in which they happened."""

    evidence: Evidence
    events: list[Stamped]
    ended: str
    born_us: int  # since the run began
    total_us: int


def simulate(
    run: str,
    deal: Deal,
    terms: Terms,
    plan: Sequence[Timed],
    bounds: Bounds,
    look: Look = lambda _view, _now_us: None,
) -> Simulated:
    """Run to the end, in virtual time."""
    return run_virtually(lambda clock: _Director(run, deal, terms, plan, bounds, look, clock).run())


class _Director:
    """What the fleet's parent is live: deals, lets robots be born, says go and stop."""

    def __init__(
        self,
        run: str,
        deal: Deal,
        terms: Terms,
        plan: Sequence[Timed],
        bounds: Bounds,
        look: Look,
        clock: VirtualClock,
    ) -> None:
        self._run = run
        self._deal = deal
        self._terms = terms
        self._conductor = Conductor(plan, bounds.for_us)
        self._bounds = bounds
        self._look = look
        self._clock = clock
        self._events: list[Stamped] = []
        self._view = View()
        self._server = MemoryServer(clock)
        self._desk = MemoryDesk(self._server)
        self._emitter = Emitter(run, "lab", 0, clock, self._take)

    async def run(self) -> Simulated:
        self._desk.deal(self._deal.dealing(self._run, self._terms, self._conductor.first))
        self._emitter.emit(RunDealt(len(self._deal.robots), len(self._deal.parts)))
        relays = [self._relay(shard) for shard in range(self._terms.shards)]
        relaying = [asyncio.ensure_future(relay.run()) for relay in relays]
        lives = [asyncio.ensure_future(self._live(robot)) for robot in self._deal.robots]
        born_us, reason = await self._direct(relaying + lives)
        self._desk.order("stop", reason.encode())
        self._emitter.emit(RunStopped(reason))
        for task in lives:
            await task
        for task in relaying:
            task.cancel()
        self._desk.change(PlanChange(()))  # whatever a partition holds back comes free
        for relay in relays:
            relay.drain()
        return Simulated(self._desk.collect(), self._events, reason, born_us, self._clock.monotonic_us())

    def _take(self, stamped: Stamped) -> None:
        self._events.append(stamped)
        self._view = fold(self._view, stamped)

    def _relay(self, shard: int) -> MemoryRelay:
        emitter = Emitter(self._run, f"relay:{shard}", 0, self._clock, self._take)
        return MemoryRelay(self._server, self._run, shard, self._terms.seed, emitter.emit)

    async def _live(self, robot: str) -> None:
        chance = Random(f"{self._terms.seed}/{robot}/1")  # noqa: S311  a simulation has to be repeatable
        nonce = f"{chance.getrandbits(64):016x}"
        ports = memory_ports(self._server, robot, nonce)
        await live(self._run, robot, Outside(ports, self._clock, chance, nonce, self._take))

    async def _direct(self, tasks: Sequence[asyncio.Future[None]]) -> tuple[int, str]:
        """Say go when all are born, and wait for the end; gives when they were born, and why the run ended."""
        reason = None
        while reason is None and self._view.born < len(self._deal.robots):
            reason = await self._look_after(tasks)
        born_us = self._clock.monotonic_us()
        pause_us = self._conduct(0)  # what is dated 0 is in force before the first envelope
        self._desk.order("go")
        self._emitter.emit(RunStarted(self._view.born))
        while reason is None:
            reason = await self._look_after(tasks, pause_us)
            now_us = self._clock.monotonic_us() - born_us
            pause_us = self._conduct(now_us)
            reason = reason or ending(self._view, now_us, self._bounds, self._conductor.is_settled(now_us))
        return born_us, reason

    def _conduct(self, now_us: int) -> int:
        """Change the plan if something dated is due, `now_us` after go; how long to wait before the next look."""
        change = self._conductor.look(now_us)
        if change is not None:
            self._desk.change(change)
        due_us = self._conductor.next_change_us(now_us)
        return LOOK_US if due_us is None else min(LOOK_US, due_us - now_us)

    async def _look_after(self, tasks: Sequence[asyncio.Future[None]], pause_us: int = LOOK_US) -> str | None:
        """A moment's pause; a task that failed fails the simulation. Gives a reason to end that came from outside."""
        await asyncio.sleep(pause_us / 1_000_000)
        for task in tasks:
            if task.done():
                task.result()
        return self._look(self._view, self._clock.monotonic_us())


def digest_of(simulated: Simulated) -> str:
    """SHA-256 over the canonical history: events without the run's id, plan, fates, journals and register."""
    history = hashlib.sha256()
    for line in _canonical(simulated):
        history.update(line)
    return history.hexdigest()


def _canonical(simulated: Simulated) -> Iterator[bytes]:
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    for stamped in simulated.events:
        yield encode(msgspec.structs.replace(stamped, run=""))
    evidence = simulated.evidence
    tables: Iterable[Iterable[Any]] = (plan_rows(evidence), fate_rows(evidence), journal_rows(evidence))
    for table in tables:
        for row in table:
            yield encode(row)
    yield encode(register(evidence))
