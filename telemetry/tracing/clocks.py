"""Brings the times of all processes onto one clock, the server's.

Ids of stream entries are the server's milliseconds, rounded down. Events carry the clock of the host that their source
lives on. An envelope was stored after a worker had offered it, and before its sender could report it. So each message
bounds how far its sender's clock is ahead, from both sides: a sender that is slow, or has sent little, is not mistaken
for one whose clock is wrong. A clock that may be right is left alone. Another one is ahead by the least difference
between its stamps and the ids of what it sent, but for the shortest way to the server (35-208 µs, where it was
measured). What a life received shows nothing: it may have waited in the inbox for long.
"""

from __future__ import annotations

from typing import Final

from telemetry.events import MessageSent, Stamped
from telemetry.record.history import History
from telemetry.record.rows import FateRow, ms_of

MARGIN_US: Final = 2_000  # a server that is busy gives ids by the time when its round began
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
        self._bounds_us: dict[Life, tuple[int, int]] = {}  # how far it is ahead, at least and at most
        self._offsets_us: dict[Life, int] = {}  # of those that cannot be right

    def observe(self, life: Life, stamp_us: int, waited_us: int, entry: str) -> None:
        """The life's own clock showed `stamp_us` when it knew that it had stored `entry`, `waited_us` after that was
        offered."""
        most_us = stamp_us - ms_of(entry) * MS_US
        least_us = most_us - waited_us - MS_US
        if life in self._bounds_us:
            known_us = self._bounds_us[life]
            least_us, most_us = max(least_us, known_us[0]), min(most_us, known_us[1])
        self._bounds_us[life] = (least_us, most_us)
        if least_us > MARGIN_US or most_us < -MARGIN_US:
            self._offsets_us[life] = most_us

    def offset_us(self, life: Life) -> int:
        """How far the life's clock is ahead of the server's; 0 when it may be right."""
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
    sent: dict[Envelope, tuple[int, int]] = {}
    for stamped in history.events:
        if isinstance(stamped.event, MessageSent):
            envelope = (stamped.source, stamped.incarnation, stamped.event.receiver, stamped.event.sequence)
            sent[envelope] = (stamped.wall_us, stamped.event.waited_us)
    for row in history.fates:
        if not isinstance(row, FateRow):
            continue
        stored = envelope_of(row)
        if stored is not None and stored in sent:
            clocks.observe(stored[:2], *sent[stored], row.id)
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
