"""The times of spans: those of events and of stream entries, on the server's clock, and moved for a simulated run.

A history's events are on that clock already. While a run is followed they are not, and what is learnt of their clocks
on the way is taken off here.
"""

from __future__ import annotations

from telemetry.events import Stamped
from telemetry.record.clocks import MS_US, ClockOffsets, Life
from telemetry.record.history import History
from telemetry.record.rows import ms_of

EntryId = tuple[int, int]
"""An entry's id, as its place in the order of its stream."""


class Clocks:
    """`shift_us` is added to all times that are given out. `offsets` of the clocks are to be learnt where events come
    with their own; of a history there are none."""

    def __init__(self, shift_us: int = 0) -> None:
        self.shift_us = shift_us
        self.offsets = ClockOffsets()

    def of_event(self, stamped: Stamped) -> int:
        """When an event happened."""
        if self.offsets.are_all_right:
            return stamped.wall_us + self.shift_us
        return self.of_stamp((stamped.source, stamped.incarnation), stamped.wall_us)

    def of_stamp(self, life: Life, stamp_us: int) -> int:
        """When the life's own clock showed `stamp_us`."""
        return stamp_us - self.offsets.of(life) + self.shift_us

    def of_entry(self, entry: str) -> int:
        """The first microsecond of the millisecond in which the server stored an entry."""
        return ms_of(entry) * MS_US + self.shift_us


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
