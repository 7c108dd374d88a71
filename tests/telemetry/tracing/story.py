"""A hand-made history of a few messages: what happened at which millisecond, as the lab would have recorded it.

No tests here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from telemetry.events import (
    AnyEvent,
    ExchangeEnded,
    InvariantViolated,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    Stamped,
)
from telemetry.record.clocks import Envelope, on_server_clock
from telemetry.record.history import History
from telemetry.record.rows import ControlRow, DealtPart, DeathRow, FateRow, FleetRow, JournalRow, OrderRow, PlannedFault
from telemetry.record.settings import RunSettings

EXCHANGE = "0000040001000007"
START_MS = 1_700_000_000_000
FateWord = Literal["delivered", "lost", "corrupt", "stale", "refused"]


def settings_of(run: str = "7b08e1", *, seed: int = 7, shards: int = 1) -> RunSettings:
    """The settings of a small live run that is over."""
    return RunSettings(
        run=run,
        version="0",
        mode="live",
        robots=6,
        copies=1,
        seed=seed,
        preset="calm",
        tick_us=100_000,
        quiet_period_us=1_000_000,
        for_us=0,
        limit_us=30_000_000,
        shards=shards,
        plan=(),
        instances=(),
        ended="complete",
        again="",
    )


class Story:
    """Times are milliseconds since the story began. `ahead_ms`: how far each robot's own clock is ahead."""

    def __init__(self, exchange: str = EXCHANGE, ahead_ms: dict[str, float] | None = None) -> None:
        self.exchange = exchange
        self.events: list[Stamped] = []
        self.fates: list[FateRow] = []
        self.controls: list[ControlRow] = []
        self.fleet: list[FleetRow] = []
        self.journals: list[JournalRow] = []
        self.orders: list[OrderRow] = []
        self._ahead_ms = ahead_ms or {}
        self._numbers: Counter[tuple[str, int]] = Counter()
        self._entries: Counter[int] = Counter()

    def event(self, robot: str, at_ms: float, event: AnyEvent, life: int = 1) -> None:
        """Anything that a robot reports."""
        self._numbers[robot, life] += 1
        wall_us = START_MS * 1000 + round((at_ms + self._ahead_ms.get(robot, 0)) * 1000)
        self.events.append(Stamped("7b08e1", robot, life, self._numbers[robot, life], wall_us, wall_us, event))

    def entry(self, at_ms: float) -> str:
        """The id of a stream's next entry."""
        milliseconds = START_MS + int(at_ms)
        self._entries[milliseconds] += 1
        return f"{milliseconds}-{self._entries[milliseconds] - 1}"

    def sent(
        self,
        kind: str,
        way: str,
        at_ms: float,
        took_ms: float,
        *,
        sequence: int = 1,
        life: int = 1,
        parts: int = 0,
        attempt: int = 0,
        cause: tuple[int, int, int] | None = None,
    ) -> Envelope:
        """A message that its sender offered at `at_ms`, and reports. `way`: `r04 r02`."""
        sender, receiver = way.split()
        waited_us = round(took_ms * 1000)
        event = MessageSent(
            receiver, sequence, kind, self.exchange, parts, 100, waited_us, attempt=attempt, cause=cause
        )
        self.event(sender, at_ms + took_ms, event, life)
        return sender, life, receiver, sequence

    def dropped(self, kind: str, way: str, at_ms: float, took_ms: float, reason: str, sequence: int = 1) -> Envelope:
        """A message that its sender could not put into the outbox."""
        sender, receiver = way.split()
        self.event(
            sender,
            at_ms + took_ms,
            MessageDropped(receiver, sequence, kind, self.exchange, reason, round(took_ms * 1000)),
        )
        return sender, 1, receiver, sequence

    def fate(
        self,
        kind: str,
        envelope: Envelope,
        at_ms: float,
        delays_ms: Sequence[float] = (),
        *faults: str,
        word: FateWord | None = None,
        stored_ms: float | None = None,
    ) -> FateRow:
        """What relay 0 decided for an envelope that was in the outbox at `at_ms`."""
        sender, incarnation, receiver, sequence = envelope
        row = FateRow(
            shard=0,
            id=self.entry(at_ms),
            stored=self.entry(at_ms if stored_ms is None else stored_ms),
            sender=sender,
            incarnation=incarnation,
            receiver=receiver,
            sequence=sequence,
            exchange=self.exchange,
            kind=kind,
            fate=word or ("delivered" if delays_ms else "lost"),
            faults=tuple(PlannedFault(number, fault) for number, fault in enumerate(faults)),
            deliveries=tuple(round(delay_ms * 1000) for delay_ms in delays_ms),
            body=100,
            wire=160,
        )
        self.fates.append(row)
        return row

    def taken(
        self, kind: str, envelope: Envelope, put_ms: float, at_ms: float, *, copy: int = 0, life: int = 1, late: int = 0
    ) -> None:
        """A copy that came into the inbox at `put_ms`, and that its receiver took at `at_ms`."""
        sender, incarnation, receiver, sequence = envelope
        entry = self.entry(put_ms)
        event = MessageReceived(sender, incarnation, sequence, copy, kind, self.exchange, late, entry)
        self.event(receiver, at_ms, event, life)

    def refused(self, kind: str, envelope: Envelope, put_ms: float, at_ms: float, copy: int = 0) -> None:
        """A damaged copy."""
        sender, incarnation, receiver, sequence = envelope
        event = MessageRefused(
            self.entry(put_ms), "bad checksum", sender, incarnation, sequence, copy, kind, self.exchange
        )
        self.event(receiver, at_ms, event)

    def repeated(self, envelope: Envelope, at_ms: float, copy: int = 0) -> None:
        """A copy that came again."""
        sender, incarnation, receiver, sequence = envelope
        self.event(receiver, at_ms, MessageRepeated(sender, incarnation, sequence, copy))

    def merged(
        self, envelope: Envelope, at_ms: float, indices: tuple[int, ...], held: int, copy: int = 0, life: int = 1
    ) -> None:
        """What a copy has taught its receiver."""
        sender, incarnation, receiver, sequence = envelope
        self.event(receiver, at_ms, PartsMerged(sender, incarnation, sequence, copy, indices, held), life)

    def contradicted(self, envelope: Envelope, at_ms: float, index: int) -> None:
        """A copy that carried another word for a part."""
        sender, incarnation, receiver, sequence = envelope
        event = InvariantViolated("one word a part", "two words", index, sender, incarnation, sequence, 0)
        self.event(receiver, at_ms, event)

    def ended(
        self,
        way: str,
        at_ms: float,
        outcome: Literal["equal", "answered", "timeout"],
        attempts: int = 1,
        wanted: int = 0,
    ) -> None:
        """The exchange's end, as its initiator reports it."""
        robot, peer = way.split()
        event = ExchangeEnded(peer, self.exchange, outcome, attempts, round(at_ms * 1000), wanted)
        self.event(robot, at_ms, event)

    def died(self, robot: str, life: int, at_ms: float) -> None:
        """A life that was killed."""
        self.fleet.append(DeathRow(self.entry(at_ms), robot, robot, life, "signal", -9))

    def history(self) -> History:
        """All of it, as it would be read from a record."""
        history = History(
            settings=settings_of(),
            dealt=(DealtPart(0, ("r00",)),),
            controls=list(self.controls),
            fates=list(self.fates),
            journals=list(self.journals),
            fleet=list(self.fleet),
            orders=list(self.orders),
            events=list(self.events),
        )
        return on_server_clock(history)
