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

from msgspec.structs import replace

from telemetry.events import MessageSent, Stamped
from telemetry.record.history import History
from telemetry.record.rows import CompleteRow, FateRow, JournalRow, QuietRow, ms_of

MARGIN_US: Final = 2_000  # a server that is busy gives ids by the time when its round began
MS_US: Final = 1_000

Life = tuple[str, int]
"""A source of events and its incarnation."""
Envelope = tuple[str, int, str, int]
"""What names an envelope: sender, incarnation, receiver and sequence."""


class ClockOffsets:
    """How far the clock of each life is ahead of the server's, as far as it is known."""

    def __init__(self) -> None:
        self._bounds_us: dict[Life, tuple[int, int]] = {}  # how far it is ahead, at least and at most
        self._offsets_us: dict[Life, int] = {}  # of those that cannot be right

    @property
    def are_all_right(self) -> bool:
        """Whether each clock may be right."""
        return not self._offsets_us

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

    def of(self, life: Life) -> int:
        """How far the life's clock is ahead of the server's; 0 when it may be right."""
        return self._offsets_us.get(life, 0)


def on_server_clock(history: History) -> History:
    """The same history, with what processes stamped by their own clocks (events, and some entries of journals) brought
    onto the server's. All stays in its order. Of a history that is on it already, nothing changes."""
    offsets = _offsets_of(history)
    if offsets.are_all_right:
        return history
    events = [_event_on_server_clock(stamped, offsets) for stamped in history.events]
    journals = [_row_on_server_clock(row, offsets) for row in history.journals]
    return replace(history, events=events, journals=journals)


def envelope_of(row: FateRow) -> Envelope | None:
    """The envelope that a fate is of; None when it is of garbage."""
    if row.sender is None or row.incarnation is None or row.receiver is None or row.sequence is None:
        return None
    return row.sender, row.incarnation, row.receiver, row.sequence


def _offsets_of(history: History) -> ClockOffsets:
    offsets = ClockOffsets()
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
            offsets.observe(stored[:2], *sent[stored], row.id)
    return offsets


def _event_on_server_clock(stamped: Stamped, offsets: ClockOffsets) -> Stamped:
    ahead_us = offsets.of((stamped.source, stamped.incarnation))
    return replace(stamped, wall_us=stamped.wall_us - ahead_us) if ahead_us else stamped


def _row_on_server_clock(row: JournalRow, offsets: ClockOffsets) -> JournalRow:
    if not isinstance(row, CompleteRow | QuietRow):
        return row
    return replace(row, at_us=row.at_us - offsets.of((row.robot, int(row.id.partition("-")[0]))))
