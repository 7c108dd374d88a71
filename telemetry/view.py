"""The state of a run at one moment, as a pure fold over its events: (view, event) → view.

Progress lines, the stop rule, screens and reports share it. It judges nothing: that is for telemetry/verdict.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from telemetry.events import (
    RECALLED,
    AnyEvent,
    EvidenceLost,
    ExchangeEnded,
    FatesDecided,
    FaultInjected,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    PlanChanged,
    ProcessDied,
    RelayMissing,
    RelayResumed,
    RobotBorn,
    RobotComplete,
    RobotDisturbed,
    RobotFenced,
    RobotJoined,
    RobotLeft,
    RobotLost,
    RobotQuiet,
    RobotWaiting,
    RunDealt,
    RunHeldBack,
    RunStarted,
    RunStopped,
    SecretRefused,
    SecretWritten,
    ServerForgot,
    Stamped,
    TicksExecuted,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerLeft,
    WorkerStarted,
)
from telemetry.phrases import bitmap_of_parts

OF_LIVES: Final[frozenset[type[AnyEvent]]] = frozenset(
    (RobotBorn, RobotLeft, RobotFenced, RobotLost, RobotWaiting, EvidenceLost, WorkerGaveUp, ProcessDied)
)
"""The events that change how many robots live. Most events are others: who wants no more need not fold them."""


class RobotView(msgspec.Struct, frozen=True):
    """One robot, by its own events."""

    incarnation: int
    state: str  # alive, away (until its next life), waiting (no RQ worker is free), left (in order), dead (for good)
    held: int
    is_complete: bool
    is_refused: bool = False  # one of its lives found that the register held a secret already
    is_quiet: bool = False  # its quiet period is over
    is_paused: bool = False
    learnt: int = 0  # bitmap of the parts that its lives reported to have merged; of what it was dealt, nothing
    crashed: tuple[str, ...] = ()  # workers of this life that crashed, and have not reported to run again
    ended: Literal["", "journal", "budget", "fenced"] = ""  # why it is dead: what was lost, spent, or came after it


_UNBORN: Final = RobotView(0, "away", 0, False)


class View(msgspec.Struct, frozen=True):
    """A run so far. `writer`: the robot that reported its accepted write."""

    dealt: int = 0  # robots
    joined: int = 0  # later
    parts: int = 0
    robots: dict[str, RobotView] = {}  # that have lived
    unborn: frozenset[str] = frozenset()  # that wait for an RQ worker, for their first life
    writer: str | None = None
    has_server_forgotten: bool = False  # it came back older than some process knew it
    offered: int = 0  # envelopes that the relays decided
    lost: int = 0
    faults: tuple[str, ...] = ()  # in force, as the relay that reported last applies them
    relayless: frozenset[int] = frozenset()  # shards without a relay
    dealt_us: int | None = None  # wall clock, as the next ones
    born_us: int | None = None  # all dealt robots
    started_us: int | None = None
    stopped_us: int | None = None
    is_held_back: bool = False  # it could begin, and waits for a person
    stopped: str | None = None

    @property
    def born(self) -> int:
        """Robots that have lived."""
        return len(self.robots)

    @property
    def complete(self) -> int:
        """Robots that lack no part, but for those that will not live again."""
        return sum(robot.is_complete and robot.state != "dead" for robot in self.robots.values())

    @property
    def living(self) -> int:
        """Robots that have neither left nor died."""
        return sum(robot.state == "alive" for robot in self.robots.values())

    @property
    def is_done(self) -> bool:
        """The secret is written, and every reachable robot is complete."""
        return self.is_written and all(robot.is_complete for robot in self._reachable)

    @property
    def is_written(self) -> bool:
        """The secret is written: the writer reported it, or all reachable robots were refused. A writer that died
        before its report is refused in its next life, like all others."""
        reachable = self._reachable
        return self.writer is not None or (bool(reachable) and all(robot.is_refused for robot in reachable))

    @property
    def born_s(self) -> float | None:
        """When all dealt robots were born, in seconds since the deal."""
        return self._since_deal_s(self.born_us)

    @property
    def total_s(self) -> float | None:
        """Seconds from the deal to the order to stop."""
        return self._since_deal_s(self.stopped_us)

    @property
    def share(self) -> float:
        """The mean share of the parts that living robots hold, 0..1."""
        held = [robot.held for robot in self._reachable]
        return sum(held) / (len(held) * self.parts) if held and self.parts else 0.0

    def _since_deal_s(self, at_us: int | None) -> float | None:
        return None if at_us is None or self.dealt_us is None else (at_us - self.dealt_us) / 1e6

    @property
    def _reachable(self) -> list[RobotView]:
        return [robot for robot in self.robots.values() if robot.state not in ("dead", "waiting")]


_CHANGES_NOTHING: Final = frozenset(
    (
        MessageSent,
        MessageReceived,
        MessageRepeated,
        MessageDropped,
        MessageRefused,
        ExchangeEnded,
        TicksExecuted,
        WorkerLeft,
    )
)
"""Most events of a run are of these kinds."""


def fold(view: View, stamped: Stamped) -> View:
    """The view after one more event."""
    event = stamped.event
    if type(event) in _CHANGES_NOTHING:
        return view
    if isinstance(event, FatesDecided):
        return _fold_fates(view, event)
    if isinstance(event, ServerForgot):
        return msgspec.structs.replace(view, has_server_forgotten=True)
    robot = view.robots.get(stamped.source)
    if robot is None and not isinstance(event, RobotBorn):
        return _fold_run(view, stamped)
    if robot is not None and 0 < stamped.incarnation < robot.incarnation:
        return _fold_older(view, stamped.source, event)
    return _fold_robot(view, stamped)


def _fold_run(view: View, stamped: Stamped) -> View:
    event = stamped.event
    match event:
        case RunDealt(robots, parts):
            return msgspec.structs.replace(view, dealt=robots, parts=parts, dealt_us=stamped.wall_us)
        case RunHeldBack():
            return msgspec.structs.replace(view, is_held_back=view.started_us is None)
        case RunStarted():
            return msgspec.structs.replace(view, started_us=stamped.wall_us, is_held_back=False)
        case RunStopped(reason):
            stopped_us = view.stopped_us or stamped.wall_us
            return msgspec.structs.replace(view, stopped=reason, stopped_us=stopped_us, is_held_back=False)
        case PlanChanged() | RelayMissing() | RelayResumed():
            return _fold_network(view, event)
    return _fold_fleet(view, event)


def _fold_fates(view: View, event: FatesDecided) -> View:
    relayless = view.relayless - {event.shard} if view.relayless else view.relayless
    offered, lost = view.offered + event.offered, view.lost + event.lost
    return msgspec.structs.replace(view, offered=offered, lost=lost, relayless=relayless)


def _fold_network(view: View, event: PlanChanged | RelayMissing | RelayResumed) -> View:
    match event:
        case PlanChanged():
            return msgspec.structs.replace(view, faults=event.new)
        case RelayMissing(shard):
            return msgspec.structs.replace(view, relayless=view.relayless | {shard})
        case RelayResumed(shard):
            return msgspec.structs.replace(view, relayless=view.relayless - {shard})


def _fold_fleet(view: View, event: AnyEvent) -> View:
    match event:
        case ProcessDied(process) if process.startswith("rq:"):
            return _change(view, process.removeprefix("rq:"), state="away")
        case RobotLost(robot):
            return _change(view, robot, state="away")
        case RobotWaiting(robot) if robot not in view.robots:
            return msgspec.structs.replace(view, unborn=view.unborn | {robot})
        case RobotWaiting(robot):
            return _change(view, robot, state="waiting")
        case RobotJoined():
            return msgspec.structs.replace(view, joined=view.joined + 1)
        case FaultInjected("pause" | "resume" as verb, victim=victim):
            return _change(view, victim, is_paused=verb == "pause")
    return view


def _fold_robot(view: View, stamped: Stamped) -> View:
    name, event = stamped.source, stamped.event
    match event:
        case RobotBorn():
            return _fold_birth(view, name, stamped, event.parts)
        case RobotFenced() if stamped.incarnation == view.robots[name].incarnation:
            return _change(view, name, state="dead", ended="fenced")
        case EvidenceLost("journal"):
            return _change(view, name, state="dead", ended="journal")
        case WorkerGaveUp(worker) if worker == name:  # the robot, not a worker inside it: it will not be born again
            return _change(view, name, state="dead", ended="budget")
        case RobotLeft(reason):
            return _change(view, name, state="away" if reason == RECALLED else "left")
        case WorkerCrashed(worker):
            return _change(view, name, crashed=(*view.robots[name].crashed, worker))
        case WorkerStarted(worker):
            crashed = tuple(other for other in view.robots[name].crashed if other != worker)
            return _change(view, name, crashed=crashed)
    return _fold_completion(view, name, event)


def _fold_older(view: View, name: str, event: AnyEvent) -> View:
    """An older life reports, late or because it was paused and went on: how the robot is now, a later one says."""
    match event:
        case PartsMerged(indices=indices):
            return _change(view, name, learnt=view.robots[name].learnt | bitmap_of_parts(indices))
        case SecretRefused() | SecretWritten():
            return _fold_completion(view, name, event)
    return view


def _fold_birth(view: View, name: str, stamped: Stamped, parts: int) -> View:
    before = view.robots.get(name, _UNBORN)
    is_complete = 0 < parts == view.parts
    born = RobotView(stamped.incarnation, "alive", parts, is_complete, before.is_refused, learnt=before.learnt)
    robots = {**view.robots, name: born}
    is_last = view.born_us is None and len(robots) == view.dealt
    born_us = stamped.wall_us if is_last else view.born_us
    return msgspec.structs.replace(view, robots=robots, unborn=view.unborn - {name}, born_us=born_us)


def _fold_completion(view: View, name: str, event: AnyEvent) -> View:
    match event:
        case PartsMerged():
            learnt = view.robots[name].learnt | bitmap_of_parts(event.indices)
            return _change(view, name, held=event.held, learnt=learnt)
        case RobotComplete():
            return _change(view, name, is_complete=True)
        case RobotQuiet() | RobotDisturbed():
            return _change(view, name, is_quiet=isinstance(event, RobotQuiet))
        case SecretRefused():
            return _change(view, name, is_refused=True)
        case SecretWritten():
            return msgspec.structs.replace(view, writer=name)
    return view


def _change(view: View, name: str, **changes: object) -> View:
    if name not in view.robots:
        return view
    robot = msgspec.structs.replace(view.robots[name], **changes)
    return msgspec.structs.replace(view, robots={**view.robots, name: robot})


def view_at(events: Iterable[Stamped], until_us: int) -> View:
    """The view at a moment of the wall clock, from events of many sources in any order."""
    view = View()
    for stamped in sorted((each for each in events if each.wall_us <= until_us), key=_wall_us):
        view = fold(view, stamped)
    return view


def _wall_us(stamped: Stamped) -> int:
    return stamped.wall_us
