"""Whether recorded fates equal the recomputed ones, and which entries or envelopes have no fate.

One difference is allowed: a throttle delays all copies of an envelope by the same time. Only the record shows whether
it did and how long, and it may be another time when a relay decides the entry again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from telemetry.events import MessageSent
from telemetry.verdict.case import Case
from telemetry.verdict.evidence.schema import FateRow
from telemetry.verdict.evidence.traffic import Key, key_of, place_of
from telemetry.verdict.finding import Finding, broken
from telemetry.verdict.recomputed.fates import Ruling


def fate_matches(row: FateRow, ruling: Ruling) -> bool:
    """Whether the recorded fate equals the recomputed one, up to a throttle's delay."""
    slowing = _slowing(row, ruling)
    if row.fate != ruling.fate or slowing is None:
        return False
    if row.deliveries == ruling.deliveries:
        return not slowing
    return bool(slowing) and (_shift_us(ruling.deliveries, row.deliveries) or 0) > 0


def _slowing(row: FateRow, ruling: Ruling) -> tuple[str, ...] | None:
    """The throttles that the row names after the faults that changed the envelope; None when it names others than these
    two kinds."""
    named = [(fault.instance, fault.fault) for fault in row.faults]
    changed = [(rule.instance, rule.text) for rule in ruling.changed]
    throttles = {(rule.instance, rule.text) for rule in ruling.throttles}
    slowing = named[len(changed) :]
    if named[: len(changed)] != changed or not throttles.issuperset(slowing):
        return None
    return tuple(text for _, text in slowing)


def was_throttled(row: FateRow, ruling: Ruling) -> bool:
    """Whether a throttle delayed the envelope."""
    return bool(ruling.throttles) and fate_matches(row, ruling) and row.deliveries != ruling.deliveries


def differing_fates(case: Case) -> Iterator[tuple[FateRow, Ruling, Key]]:
    """The recorded fates that differ from the recomputed one, with that one and the entry."""
    for key, ruling in case.rulings.items():
        for row in (case.traffic.entries[key], *case.traffic.unequal.get(key, ())):
            if not fate_matches(row, ruling):
                yield row, ruling, key


def entries_decided_differently(case: Case) -> Iterator[Key]:
    """The entries that were decided more than once, with different fates."""
    for key, rows in case.traffic.unequal.items():
        first = case.traffic.entries[key]
        if any(not _differs_by_a_throttle(case, key, first, row) for row in rows):
            yield key


def _differs_by_a_throttle(case: Case, key: Key, first: FateRow, row: FateRow) -> bool:
    like_first = replace(row, deliveries=first.deliveries, faults=first.faults)
    if like_first != first or _shift_us(first.deliveries, row.deliveries) is None:
        return False
    ruling = case.rulings.get(key)  # garbage has none
    return ruling is not None and bool(ruling.throttles)


def _shift_us(before: tuple[int, ...], after: tuple[int, ...]) -> int | None:
    """By how much each copy is later; None when that differs from copy to copy, or there are other copies."""
    shifts = {later - sooner for sooner, later in zip(before, after, strict=False)}
    return shifts.pop() if len(before) == len(after) and len(shifts) == 1 else None


class SentEnvelope(NamedTuple):
    """An envelope, as its sender reports it."""

    sender: str
    incarnation: int
    receiver: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.sender}/{self.incarnation}'s envelope {self.sequence} to {self.receiver}"


def contradictory_fates(case: Case) -> Iterator[Finding]:
    """Entries with two different fates, and fates with a sender where garbage has none, or the other way round."""
    for key in entries_decided_differently(case):
        yield broken("an entry was decided twice, and differently", place_of(key))
    for key, row in case.traffic.entries.items():
        if (row.sender is None) != (row.fate == "refused"):
            yield broken(f"a fate {row.fate!r} names {row.sender or 'no sender'}", place_of(key))


def recorded_entries(case: Case) -> set[Key]:
    """Every outbox entry that plan or fates name."""
    return {key_of(control.shard, control.id) for control in case.plan} | case.traffic.entries.keys()


def unrecorded_counts(case: Case) -> dict[int, int]:
    """How many entries of each outbox the record does not name; negative when it names too many."""
    recorded = Counter(shard for shard, _, _ in recorded_entries(case))
    return {shard: count.added - recorded[shard] for shard, count in case.streams.outboxes.items()}


def undecided_envelopes(case: Case) -> dict[int | None, list[SentEnvelope]]:
    """By shard, the envelopes that their senders report as sent, and that no fate names."""
    decided = case.traffic.readable_copies
    undecided: dict[int | None, list[SentEnvelope]] = {}
    for stamped in case.events:
        event = stamped.event
        if isinstance(event, MessageSent):
            sent = SentEnvelope(stamped.source, stamped.incarnation, event.receiver, event.sequence)
            if sent not in decided:
                undecided.setdefault(case.shards.get(stamped.source), []).append(sent)
    return undecided
