"""A whole run in one process and in virtual time: the same robots, relay and fault plan over the memory ports.

One seed gives one history, bit for bit. Live and simulated runs differ in the ports (broker/memory) and in what is
in this room: the event loop, the fleet (robots/simulation/fleet.py), and the leader of the run (here).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from broker.control_entries import PlanChange
from broker.envelope import shard_of
from broker.faults.schedule import Timed
from broker.memory.run_control import MemoryEvidenceReader, MemoryFleetLog, MemoryRunControl
from broker.memory.server import MemoryServer
from broker.ports.run import Evidence
from robots.exhibits.catalogue import components_of
from robots.run.deal import Deal, Terms
from robots.run.leader import PlanPublisher
from robots.run.record_rows import fate_rows, journal_rows, plan_rows, register
from robots.run.stop_rule import Bounds, stop_reason
from robots.simulation.fleet import SimulatedFleet
from robots.simulation.virtual_time import VirtualClock, run_virtually
from robots.supervision import until_answered
from telemetry.anomalies.detector import AnomalyDetector
from telemetry.anomalies.thresholds import DEFAULTS, Thresholds
from telemetry.anomalies.watch import AnomalyWatch
from telemetry.events import RunDealt, RunStarted, RunStopped, Stamped
from telemetry.pipeline import Emitter, Next
from telemetry.view import View, fold

POLL_US: Final = 10_000  # how often the leader checks whether the run has ended

Observe = Callable[[View, int], str | None]
"""Called at every poll with the view and the virtual time (microseconds). Returns a reason to end the run at once, or
None."""


class Simulated(msgspec.Struct, frozen=True):
    """A run that has ended: its evidence, and its events in the order in which they happened."""

    evidence: Evidence
    events: list[Stamped]
    ended: str  # the reason
    born_us: int  # when all robots were born, since the run began
    total_us: int


def simulate(
    run: str,
    deal: Deal,
    terms: Terms,
    plan: Sequence[Timed],
    bounds: Bounds,
    observe: Observe = lambda _view, _now_us: None,
    sink: Next = lambda _stamped: None,
    thresholds: Thresholds = DEFAULTS,
) -> Simulated:
    """Run to the end, in virtual time. `sink` gets all events as they happen; `thresholds` are those of anomalies.
    Raises UnknownExhibit."""
    observers = _Observers(observe, sink, thresholds)
    return run_virtually(lambda clock: _SimulatedLeader(run, deal, terms, plan, bounds, observers, clock).run())


class _Observers(NamedTuple):
    """What observes the run while it goes on."""

    observe: Observe
    sink: Next
    thresholds: Thresholds


class _SimulatedLeader:
    """Leads the run, as a supervisor does live: deals, starts the fleet, publishes the plan, orders `go` and `stop`."""

    def __init__(
        self,
        run: str,
        deal: Deal,
        terms: Terms,
        plan: Sequence[Timed],
        bounds: Bounds,
        observers: _Observers,
        clock: VirtualClock,
    ) -> None:
        self._run = run
        self._deal = deal
        self._terms = terms
        components = components_of(terms.exhibit)
        scheduler = components.plan_scheduler(plan, bounds.for_us)
        self._first_plan = scheduler.first
        self._bounds = bounds
        self._observe, self._hand_on, thresholds = observers
        self._clock = clock
        self._events: list[Stamped] = []
        self._view = View()
        self._server = MemoryServer(clock)
        self._run_control = MemoryRunControl(self._server)
        self._emitter = Emitter(run, "lab", 0, clock, self._sink)
        detector = AnomalyDetector(terms.tick_us, lambda robot: shard_of(robot, terms.shards), thresholds)
        self._anomalies = AnomalyWatch(detector, clock, self._emitter.emit)
        self._fleet = SimulatedFleet(run, deal, terms, self._server, clock, self._emitter, self._sink, components)
        log = MemoryFleetLog(self._server)
        self._plan = PlanPublisher(scheduler, self._run_control, log)
        self._chaos = components.chaos(terms.seed, len(deal.robots), log, self._fleet, self._emitter.emit)

    async def run(self) -> Simulated:
        self._run_control.deal(self._deal.run_spec(self._run, self._terms, self._first_plan))
        self._emitter.emit(RunDealt(len(self._deal.robots), len(self._deal.parts)))
        self._fleet.start()
        born_us, reason = await self._lead()
        self._run_control.order("stop", reason.encode())
        self._emitter.emit(RunStopped(reason))
        await self._fleet.leave()
        await until_answered(self._heal)
        self._fleet.drain()
        evidence = MemoryEvidenceReader(self._server).collect()
        return Simulated(evidence, self._events, reason, born_us, self._clock.monotonic_us())

    def _sink(self, stamped: Stamped) -> None:
        self._events.append(stamped)
        self._view = fold(self._view, stamped)
        self._hand_on(stamped)
        self._anomalies.observe(stamped)

    async def _lead(self) -> tuple[int, str]:
        """Order `go` when all robots are born, and wait for the end. Returns when they were born, and why the run
        ended."""
        reason = None
        while reason is None and self._view.born < len(self._deal.robots):
            reason = await self._wait(POLL_US)
        born_us = self._clock.monotonic_us()
        await until_answered(self._begin_plan)
        self._run_control.order("go")
        self._emitter.emit(RunStarted(self._view.born))
        while reason is None:
            now_us = self._clock.monotonic_us() - born_us
            self._plan.publish(now_us, not self._server.is_away)
            dues = self._plan.due_faults(now_us)
            if dues or not self._chaos.is_idle:
                self._chaos.play(dues, self._fleet.living)
            reason = stop_reason(self._view, now_us, self._bounds, self._is_settled(now_us))
            reason = reason or await self._wait(self._pause_us(now_us))
        return born_us, reason

    async def _begin_plan(self) -> None:
        self._plan.begin()

    async def _heal(self) -> None:
        """Clear the fault plan, so that a partition holds nothing back."""
        self._run_control.change(PlanChange(()))

    def _is_settled(self, now_us: int) -> bool:
        """Whether no fault is left to happen, and every robot that will live again lives."""
        return self._plan.is_settled(now_us) and self._chaos.is_settled and self._fleet.is_whole

    def _pause_us(self, now_us: int) -> int:
        due_us = self._plan.next_due_us(now_us)
        return POLL_US if due_us is None else min(POLL_US, due_us - now_us)

    async def _wait(self, pause_us: int) -> str | None:
        """Pause, and observe. Returns the observer's reason to end. A bug of ours raises its error."""
        await asyncio.sleep(pause_us / 1_000_000)
        for task in self._fleet.tasks:
            if task.done():
                task.result()
        self._anomalies.poll(is_leading=True)
        return self._observe(self._view, self._clock.monotonic_us())


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
