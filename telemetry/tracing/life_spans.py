"""What robots did in their lives, as spans of the run's own trace: lives and the gaps between them, what each life
learnt and from which exchange, restarts of its workers, and its attempt to write the secret.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from telemetry.events import (
    InvariantViolated,
    PartsMerged,
    RobotBorn,
    RobotFenced,
    RobotLeft,
    SecretRefused,
    SecretWritten,
    Stamped,
    WorkerCrashed,
    WorkerStarted,
)
from telemetry.record.clocks import Envelope, Life, envelope_of
from telemetry.record.history import History
from telemetry.record.rows import BornRow, DeathRow, FateRow, PartRow, QuietRow
from telemetry.tracing.attributes import chosen, in_ranges
from telemetry.tracing.builder import Placed, TraceBuilder
from telemetry.tracing.clocks import Clocks, EntryId, entry_id
from telemetry.tracing.exchange_spans import merge_span_id
from telemetry.tracing.ids import exchange_trace_id, span_id
from telemetry.tracing.lives import Lives
from telemetry.tracing.pieces import CopyTaken
from telemetry.tracing.spans import Attributes, Link, SpanKind

MOST_LEARNT: Final = 50  # spans of one life: user interfaces are slow above a few thousand in a trace
_HOW: Final = {"signal": "killed", "silent": "silent", "lease": "lease expired"}


class LifeSpans:
    """Draws the lives of a run into its trace, below `root`. A life that goes on, or of whose end nothing is known,
    ends with its last event."""

    def __init__(self, history: History, clocks: Clocks, builder: TraceBuilder, root: Placed) -> None:
        self._history = history
        self._clocks = clocks
        self._builder = builder
        self._root = root
        self._lives = Lives()
        self._claims: dict[Life, EntryId] = {}  # when each life was announced to the relays, by the server's clock
        self._events: dict[Life, list[Stamped]] = defaultdict(list)
        self._exchanges = _exchanges_in(history)
        for row in history.fleet:
            if isinstance(row, DeathRow):
                self._lives.death(row)
        for control in history.controls:
            if isinstance(control, BornRow):
                life, at = (control.robot, control.incarnation), entry_id(control.id)
                self._claims[life] = min(at, self._claims.get(life, at))
        robots = {robot for robot, _ in self._claims}
        robots |= {stamped.source for stamped in history.events if isinstance(stamped.event, RobotBorn)}
        for stamped in history.events:
            self._lives.event(stamped)
            if stamped.source in robots and stamped.incarnation:
                self._events[stamped.source, stamped.incarnation].append(stamped)

    def draw(self) -> None:
        """All lives, in the order of their robots."""
        last: tuple[Life, int] | None = None  # and when it ended
        for life in sorted({*self._events, *self._claims}):
            times = self._times(life)
            if last is not None and last[0][0] == life[0] and times[0] > last[1]:
                self._add(self._root, "down", life, 0, (last[1], times[0]))
            placed = self._life(life, times)
            self._learn(life, placed)
            self._restarts(life, placed, times[1])
            self._writes(life, placed)
            last = (life, times[1])

    def _times(self, life: Life) -> tuple[int, int]:
        events, clocks = self._events.get(life, []), self._clocks
        born = next((stamped for stamped in events if isinstance(stamped.event, RobotBorn)), None)
        if born is not None:
            start_us = clocks.of_event(born)
        elif life in self._claims:
            start_us = clocks.of_entry(f"{self._claims[life][0]}-0")
        else:
            start_us = clocks.of_event(events[0])
        died_us = self._lives.died_us(life, clocks)
        if died_us is not None:
            return start_us, max(died_us, start_us)
        return start_us, max([start_us, *(clocks.of_event(stamped) for stamped in events[-1:])])

    def _life(self, life: Life, times: tuple[int, int]) -> Placed:
        born = left = held = None
        learnt = 0
        for stamped in self._events.get(life, ()):
            match stamped.event:
                case RobotBorn():
                    born = stamped.event
                case RobotLeft(reason):
                    left = reason
                case RobotFenced():
                    left = "fenced"
                case PartsMerged(held=now):
                    learnt, held = learnt + 1, now
        death = self._lives.death_of(life, self._clocks)
        attributes = chosen(
            ("gossip.incarnation", life[1]),
            ("gossip.left", left),
            ("gossip.replayed", (born.replayed or None) if born is not None else None),
            ("gossip.parts.born", born.parts if born is not None else None),
            ("gossip.parts.held", held),
            ("gossip.witness", "birth" if born is None else None),
            ("gossip.learn.left_out", learnt - MOST_LEARNT if learnt > MOST_LEARNT else None),
        )
        return self._add(self._root, "life", life, 0, times, _error_of(death), attributes)

    def _learn(self, life: Life, placed: Placed) -> None:
        """One span for each copy that taught the life something, at the time when that was safe."""
        drawn = 0
        for stamped in self._events.get(life, ()):
            event = stamped.event
            if not isinstance(event, PartsMerged | InvariantViolated):
                continue
            drawn += 1
            if drawn > MOST_LEARNT:
                return
            taken = CopyTaken((event.sender, event.sender_incarnation, life[0], event.sequence), event.copy, life[1])
            indices = event.indices if isinstance(event, PartsMerged) else (event.index,)
            attributes = chosen(
                ("gossip.parts.merged", len(indices) if isinstance(event, PartsMerged) else None),
                ("gossip.parts.indices", in_ranges(indices)),
                ("gossip.peer", event.sender),
                ("gossip.exchange", self._exchanges.get(taken.envelope)),
            )
            at_us = self._clocks.of_event(stamped)
            error = "contradiction" if isinstance(event, InvariantViolated) else ""
            links = self._taught_by([taken])
            self._add(placed, "learn", life, stamped.number, (at_us, at_us), error, attributes, links)

    def _restarts(self, life: Life, placed: Placed, end_us: int) -> None:
        """From each crash of a worker until it ran again."""
        events = self._events.get(life, [])
        for number, stamped in enumerate(events):
            if not isinstance(stamped.event, WorkerCrashed):
                continue
            worker = stamped.event.worker
            again = (
                self._clocks.of_event(later)
                for later in events[number:]
                if isinstance(later.event, WorkerStarted) and later.event.worker == worker
            )
            times = (self._clocks.of_event(stamped), next(again, end_us))
            error = stamped.event.error.partition(":")[0]
            attributes = chosen(("gossip.worker", worker))
            self._add(placed, f"restart {worker}", life, stamped.number, times, error, attributes)

    def _writes(self, life: Life, placed: Placed) -> None:
        """From the end of the quiet period until the register accepted the secret, or refused it."""
        for stamped in self._events.get(life, ()):
            match stamped.event:
                case SecretWritten(size, durability):
                    about = chosen(
                        ("gossip.outcome", "written"), ("gossip.durability", durability), ("gossip.size", size)
                    )
                    links = self._taught_by(self._causes(life[0]))
                case SecretRefused():
                    about, links = chosen(("gossip.outcome", "refused")), ()
                case _:
                    continue
            at_us = self._clocks.of_event(stamped)
            start_us = max((time_us for time_us in self._quiet_us(life) if time_us <= at_us), default=at_us)
            self._add(placed, "write secret", life, stamped.number, (start_us, at_us), "", about, links)

    def _quiet_us(self, life: Life) -> list[int]:
        """When the life was quiet for long enough to write."""
        return [
            self._clocks.of_stamp(life, row.at_us)
            for row in self._history.journals
            if isinstance(row, QuietRow) and row.robot == life[0] and _incarnation(row.id) == life[1]
        ]

    def _causes(self, robot: str) -> list[CopyTaken]:
        """The copies that brought the robot what it knows, in the order of its journal."""
        causes: dict[CopyTaken, None] = {}
        for row in self._history.journals:
            if isinstance(row, PartRow) and row.robot == robot and row.cause is not None:
                sender, incarnation, sequence, copy = row.cause
                causes[CopyTaken((sender, incarnation, robot, sequence), copy, _incarnation(row.id))] = None
        return list(causes)

    def _taught_by(self, copies: list[CopyTaken]) -> tuple[Link, ...]:
        """Links to the merges of these copies, in the traces of their exchanges."""
        settings, links = self._history.settings, []
        for taken in copies:
            exchange = self._exchanges.get(taken.envelope)
            if exchange is not None:
                trace = exchange_trace_id(settings.run, settings.seed, exchange)
                links.append(Link(trace, merge_span_id(trace, taken)))
        return tuple(links)

    def _add(
        self,
        parent: Placed,
        name: str,
        life: Life,
        number: int,
        times: tuple[int, int],
        error: str = "",
        about: Attributes = (),
        links: tuple[Link, ...] = (),
    ) -> Placed:
        span = span_id(self._builder.trace, name, *life, number)
        return self._builder.add(span, parent, name, SpanKind.INTERNAL, life[0], times, error, about, links)


def _exchanges_in(history: History) -> dict[Envelope, str]:
    """To which exchange each envelope belongs."""
    exchanges: dict[Envelope, str] = {}
    for row in history.fates:
        envelope = envelope_of(row) if isinstance(row, FateRow) else None
        if envelope is not None and isinstance(row, FateRow) and row.exchange is not None:
            exchanges[envelope] = row.exchange
    return exchanges


def _error_of(death: DeathRow | None) -> str:
    if death is None:
        return ""
    return _HOW.get(death.how, f"exit {death.status}")


def _incarnation(entry: str) -> int:
    """The life that wrote an entry of a journal."""
    return entry_id(entry)[0]
