"""The attributes of spans: names, and what they are made from. Semantic conventions of OpenTelemetry 1.44.

A span has at most eight, because each costs time and space wherever spans go. What stands first matters most; what is
usual (one copy, no delay, first attempt) is left out. `messaging.destination.name` is never there: a run's streams are
temporary. Lists are one text, because backends search values as text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from telemetry.events import (
    ExchangeEnded,
    InvariantViolated,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageSent,
    PartsMerged,
)
from telemetry.record.rows import FateRow
from telemetry.tracing.spans import Attributes

MOST: Final = 8
_SYSTEM: Final = ("messaging.system", "redis")

Value = str | int | float | bool


def of_exchange(
    exchange: str, peer: str, incarnation: int, outcome: str, summaries: int, ended: ExchangeEnded | None
) -> Attributes:
    """Of a root. `summaries`: how many are known; its initiator's own report counts more."""
    return chosen(
        ("gossip.exchange", exchange),
        ("gossip.peer", peer),
        ("gossip.outcome", outcome),
        ("gossip.attempts", summaries if ended is None else ended.attempts),
        ("gossip.incarnation", incarnation),
        ("gossip.wanted", None if ended is None or not ended.wanted else ended.wanted),
    )


def of_send(
    operation: str, receiver: str, sequence: int, sent: MessageSent | MessageDropped | None, entry: str | None
) -> Attributes:
    """Of a message that was sent, or was not. `sent` is None when only its fate is known, and `entry` when that is not
    known."""
    return chosen(
        ("gossip.attempt", sent.attempt or None if sent is not None else None),
        ("gossip.parts", sent.parts or None if isinstance(sent, MessageSent) else None),
        ("gossip.witness", "fate" if sent is None else None),
        ("gossip.peer", receiver),
        ("gossip.sequence", sequence),
        ("messaging.message.id", entry),
        ("messaging.operation.name", operation),
        _SYSTEM,
    )


def of_relay(operation: str, row: FateRow, lag_ms: float, outcome: str) -> Attributes:
    """Of a message at its relay. `lag_ms`: by how much a copy came after its time. `outcome` is that of the whole
    exchange: so one search among the relays' spans finds all that is wanted."""
    return chosen(
        ("gossip.fate", row.fate),
        ("gossip.outcome", outcome),
        ("gossip.faults", ", ".join([fault.fault for fault in row.faults]) or None),
        ("gossip.copies", len(row.deliveries) if len(row.deliveries) > 1 else None),
        ("gossip.delay_ms", _ms(max(row.deliveries, default=0)) or None),
        ("gossip.lag_ms", lag_ms if lag_ms >= 1 else None),  # an id is a whole millisecond
        ("messaging.message.id", row.id),
        ("messaging.operation.name", operation),
        _SYSTEM,
        ("gossip.peer", row.receiver),
    )


def of_process(
    operation: str, received: MessageReceived, incarnation: int, inbox_us: int, *, is_equal: bool
) -> Attributes:
    """Of a copy that its receiver took, in its life `incarnation`, `inbox_us` after it had come."""
    return chosen(
        ("gossip.copy", received.copy or None),
        ("gossip.equal", is_equal or None),
        ("gossip.incarnation", incarnation),
        ("gossip.inbox_ms", _ms(inbox_us)),
        ("gossip.late", received.late or None),
        ("messaging.message.id", received.entry),
        ("messaging.operation.name", operation),
        _SYSTEM,
        ("gossip.peer", received.sender),
    )


def of_refusal(operation: str, refused: MessageRefused, incarnation: int) -> Attributes:
    """Of a damaged copy."""
    return chosen(
        ("gossip.copy", refused.copy or None),
        ("gossip.incarnation", incarnation),
        ("messaging.message.id", refused.entry),
        ("messaging.operation.name", operation),
        _SYSTEM,
        ("gossip.peer", refused.sender),
    )


def of_merge(event: PartsMerged | InvariantViolated) -> Attributes:
    """Of what a copy taught, or of the part that it contradicted."""
    if isinstance(event, InvariantViolated):
        return chosen(("gossip.invariant", event.invariant), ("gossip.parts.indices", str(event.index)))
    return chosen(
        ("gossip.parts.merged", len(event.indices)),
        ("gossip.parts.held", event.held),
        ("gossip.parts.indices", in_ranges(event.indices)),
    )


def in_ranges(indices: Iterable[int]) -> str:
    """Indices as a short text: `0, 4..7, 9`."""
    ranges: list[tuple[int, int]] = []
    for index in sorted(set(indices)):
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], index)
        else:
            ranges.append((index, index))
    return ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in ranges)


def chosen(*attributes: tuple[str, Value | None]) -> Attributes:
    """The first MOST that have a value."""
    return tuple([pair for pair in attributes if pair[1] is not None][:MOST])  # type: ignore[arg-type]


def _ms(time_us: int) -> float:
    return round(time_us / 1000, 1)
