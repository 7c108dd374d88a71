"""A run's history: all that its record says, or all that is known of it so far. Traces and questions read it.

The same value is made from a record, from a live run's streams and from a simulation. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from telemetry.events import Stamped
from telemetry.record.rows import ControlRow, DealtPart, FateRow, FleetRow, JournalRow, OrderRow, RedoRow, ms_of
from telemetry.record.settings import RunSettings


class History(msgspec.Struct, frozen=True):
    """Events, each once: of one source and life in their order, of different ones as they were read. Rows stand in the
    order of their file. Times are the server's (telemetry/record/clocks.py). `dealt`: who was dealt each part, in the
    order of the indices."""

    settings: RunSettings
    dealt: tuple[DealtPart, ...]
    controls: list[ControlRow]
    fates: list[FateRow | RedoRow]
    journals: list[JournalRow]
    fleet: list[FleetRow]
    orders: list[OrderRow]
    events: list[Stamped]

    def order_us(self, order: str) -> int | None:
        """When `order` was first given, by the server's clock; None when it never was."""
        return first_us(self.orders, order)


def first_us(orders: Iterable[OrderRow], order: str) -> int | None:
    """The same, among these orders."""
    return min((ms_of(row.id) * 1000 for row in orders if row.order == order), default=None)
