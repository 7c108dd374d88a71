"""What is known of one exchange so far: the events and fates that belong to it, each in its place.

Nothing here depends on the order in which the pieces came. What they mean as spans is not known here.
"""

from __future__ import annotations

from typing import NamedTuple

from telemetry.events import (
    ExchangeEnded,
    InvariantViolated,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageSent,
    PartsMerged,
    Stamped,
)
from telemetry.record.clocks import Envelope, Life
from telemetry.record.rows import FateRow
from telemetry.tracing.clocks import EntryId, entry_id


class CopyTaken(NamedTuple):
    """A copy of an envelope, in the life of its receiver that took it from the inbox."""

    envelope: Envelope
    copy: int
    incarnation: int


class Pieces:
    """Of the exchange `exchange`. Of what came twice, one is kept, always the same."""

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self.sent: dict[Envelope, tuple[Stamped, MessageSent | MessageDropped]] = {}
        self.fates: dict[Envelope, FateRow] = {}
        self.received: dict[CopyTaken, tuple[Stamped, MessageReceived]] = {}
        self.refused: dict[CopyTaken, list[tuple[Stamped, MessageRefused]]] = {}
        self.repeated: dict[CopyTaken, list[Stamped]] = {}
        self.merged: dict[CopyTaken, tuple[Stamped, PartsMerged | InvariantViolated]] = {}
        self.replies: dict[CopyTaken, Envelope] = {}  # the answer or update that names the copy as its cause
        self.ended: tuple[Stamped, ExchangeEnded] | None = None
        self.newest_us = 0  # of the events, by their sources' clocks

    @property
    def is_of_the_run(self) -> bool:
        """Whether a robot or a relay knows the exchange; else only garbage, or a copy past all relays, has named it."""
        return bool(self.sent or self.fates or self.ended)

    def add_sent(self, stamped: Stamped, event: MessageSent | MessageDropped) -> Envelope:
        """An envelope that was sent, or was not. Returns its name."""
        self._note_time(stamped)
        envelope = (stamped.source, stamped.incarnation, event.receiver, event.sequence)
        self.sent.setdefault(envelope, (stamped, event))
        if event.cause is not None:
            incarnation, sequence, copy = event.cause
            replied = (event.receiver, incarnation, stamped.source, sequence)
            self.replies.setdefault(CopyTaken(replied, copy, stamped.incarnation), envelope)
        return envelope

    def add_fate(self, envelope: Envelope, row: FateRow) -> None:
        """What a relay decided. Another relay, which redid it, decided the same, and stored it later."""
        known = self.fates.get(envelope)
        if known is None or _order(row) < _order(known):
            self.fates[envelope] = row

    def add_received(self, stamped: Stamped, event: MessageReceived) -> Envelope:
        """A copy that was taken from the inbox. Returns its envelope's name."""
        self._note_time(stamped)
        envelope = (event.sender, event.sender_incarnation, stamped.source, event.sequence)
        self.received.setdefault(CopyTaken(envelope, event.copy, stamped.incarnation), (stamped, event))
        return envelope

    def add_refused(self, stamped: Stamped, event: MessageRefused) -> None:
        """A damaged copy that claims to be of this exchange."""
        self._note_time(stamped)
        envelope = (event.sender, event.sender_incarnation, stamped.source, event.sequence)
        self.refused.setdefault(CopyTaken(envelope, event.copy, stamped.incarnation), []).append((stamped, event))

    def add_repeated(self, taken: CopyTaken, stamped: Stamped) -> None:
        """The same copy came again to the same life."""
        self._note_time(stamped)
        self.repeated.setdefault(taken, []).append(stamped)

    def add_merged(self, taken: CopyTaken, stamped: Stamped, event: PartsMerged | InvariantViolated) -> None:
        """What a copy has taught, or has contradicted."""
        self._note_time(stamped)
        self.merged.setdefault(taken, (stamped, event))

    def add_ended(self, stamped: Stamped, event: ExchangeEnded) -> None:
        """Its end, as its initiator knows it."""
        self._note_time(stamped)
        if self.ended is None or _number(stamped) < _number(self.ended[0]):
            self.ended = (stamped, event)

    def kind_of(self, envelope: Envelope) -> str:
        """Summary, answer or update; empty when that is not known."""
        if envelope in self.sent:
            return self.sent[envelope][1].kind
        if envelope in self.fates:
            return self.fates[envelope].kind or ""
        return next((event.kind for taken, (_, event) in self.received.items() if taken.envelope == envelope), "")

    def initiator(self) -> Life:
        """Who began it, in which life; incarnation 0: not known."""
        if self.ended is not None:
            return self.ended[0].source, self.ended[0].incarnation
        answers: list[Life] = []
        for envelope in sorted({*self.sent, *self.fates}):
            if self.kind_of(envelope) != "answer":
                return envelope[:2]
            cause = self.sent[envelope][1].cause if envelope in self.sent else None
            answers.append((envelope[2], 0 if cause is None else cause[0]))
        return max(answers, default=("", 0), key=lambda life: (life[1], life[0]))

    def _note_time(self, stamped: Stamped) -> None:
        self.newest_us = max(self.newest_us, stamped.wall_us)


def _order(row: FateRow) -> tuple[EntryId, EntryId]:
    return entry_id(row.id), entry_id(row.stored)


def _number(stamped: Stamped) -> tuple[str, int, int]:
    return stamped.source, stamped.incarnation, stamped.number
