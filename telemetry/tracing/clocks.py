"""Brings the times of all processes onto one clock, the server's.

Ids of stream entries are the server's milliseconds, rounded down. Events carry the clock of the host that their source
lives on. An envelope is in the outbox before its sender can report it: so the least difference between a life's stamps
and the ids of what it sent is how far its clock is ahead, but for the shortest way to the server (35-208 µs, where it
was measured). A difference of up to 2 ms is left alone: on one host it is that way, and no error. What a life received
shows nothing: it may have waited in the inbox for long.
"""

from __future__ import annotations

from typing import Final

from telemetry.events import MessageSent, Stamped
from telemetry.record.history import History
from telemetry.record.rows import FateRow, ms_of

LEAST_OFFSET_US: Final = 2_000
MS_US: Final = 1_000

Life = tuple[str, int]
"""A source of events and its incarnation."""
Envelope = tuple[str, int, str, int]
"""What names an envelope: sender, incarnation, receiver and sequence."""
EntryId = tuple[int, int]
"""An entry's id, as its place in the order of its stream."""


class Clocks:
    """The offset of each life's clock, as far as it is known. `shift_us` is added to all times that are given out."""

    def __init__(self, shift_us: int = 0) -> None:
        self.shift_us = shift_us
        self._ahead_us: dict[Life, int] = {}
        self._offsets_us: dict[Life, int] = {}  # those of them that are no accident

    def observe(self, life: Life, stamp_us: int, entry: str) -> None:
        """The life's own clock showed `stamp_us` when it knew that it had stored `entry`."""
        ahead_us = stamp_us - ms_of(entry) * MS_US
        known_us = self._ahead_us.get(life)
        if known_us is not None and ahead_us >= known_us:
            return
        self._ahead_us[life] = ahead_us
        if abs(ahead_us) > LEAST_OFFSET_US:
            self._offsets_us[life] = ahead_us
        else:
            self._offsets_us.pop(life, None)

    def offset_us(self, life: Life) -> int:
        """How far the life's clock is ahead of the server's; 0 when that is too little, or not known."""
        return self._offsets_us.get(life, 0)

    def of_event(self, stamped: Stamped) -> int:
        """When an event happened."""
        if not self._offsets_us:
            return stamped.wall_us + self.shift_us
        return self.of_stamp((stamped.source, stamped.incarnation), stamped.wall_us)

    def of_stamp(self, life: Life, stamp_us: int) -> int:
        """When the life's own clock showed `stamp_us`."""
        return stamp_us - self.offset_us(life) + self.shift_us

    def of_entry(self, entry: str) -> int:
        """The first microsecond of the millisecond in which the server stored an entry."""
        return ms_of(entry) * MS_US + self.shift_us


def clocks_of(history: History, shift_us: int = 0) -> Clocks:
    """The clocks of all lives of a run, by all that is known of it."""
    clocks = Clocks(shift_us)
    sent: dict[Envelope, int] = {}
    for stamped in history.events:
        if isinstance(stamped.event, MessageSent):
            sent[stamped.source, stamped.incarnation, stamped.event.receiver, stamped.event.sequence] = stamped.wall_us
    for row in history.fates:
        if not isinstance(row, FateRow):
            continue
        envelope = envelope_of(row)
        if envelope is not None and envelope in sent:
            clocks.observe(envelope[:2], sent[envelope], row.id)
    return clocks


def envelope_of(row: FateRow) -> Envelope | None:
    """The envelope that a fate is of; None when it is of garbage."""
    if row.sender is None or row.incarnation is None or row.receiver is None or row.sequence is None:
        return None
    return row.sender, row.incarnation, row.receiver, row.sequence


def shift_us_of(history: History, made_us: int | None) -> int:
    """What to add to a simulated run's times, so that it ends when its record was made: its own clock begins in the
    year 2000, where no tool for traces would search. 0 for a live run. Whole milliseconds, as ids have no others."""
    if history.settings.mode != "simulated" or made_us is None or not history.events:
        return 0
    return (made_us - max(stamped.wall_us for stamped in history.events)) // MS_US * MS_US


def entry_id(text: str) -> EntryId:
    """The id written as `1700000000000-3`."""
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number)
