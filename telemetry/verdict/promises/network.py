"""Promises about the network: honest faults, every entry accounted for. Judged by plan, fates and stream counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from telemetry.events import MessageSent
from telemetry.verdict.case import Case
from telemetry.verdict.finding import Finding, broken, held, unproven, worst
from telemetry.verdict.tallies import dishonest_entries
from telemetry.verdict.traffic import key_of, place_of


def honest_faults(case: Case) -> Finding:
    """Every recorded fate equals the recomputed one."""

    def findings() -> Iterator[Finding]:
        yield from _contradicted(case)
        for key in dishonest_entries(case):
            row, ruling = case.traffic.entries[key], case.rulings[key]
            yield broken(
                f"the fate of {row.sender}/{row.incarnation}'s envelope {row.sequence} to {row.receiver} was "
                f"{row.fate} {list(row.deliveries)}, its dice say {ruling.fate} {list(ruling.deliveries)}",
                place_of(key),
            )
        if not case.rulings:
            yield unproven("nothing was offered to the faults")

    return worst(findings(), otherwise=held(f"{len(case.rulings)} fates equal the recomputed ones"))


def accounted(case: Case) -> Finding:
    """Every outbox entry has its fate, and every inbox got the copies that the fates say."""

    def findings() -> Iterator[Finding]:
        yield from _contradicted(case)
        yield from _outboxes(case)
        yield from _inboxes(case)

    entries = len(case.traffic.entries)
    copies = case.traffic.copies_by_receiver().total()
    return worst(findings(), otherwise=held(f"{entries} entries have their fates, and {copies} copies their inboxes"))


def _contradicted(case: Case) -> Iterator[Finding]:
    """An entry may be decided more than once, always in the same way; and garbage alone has no sender."""
    for key in case.traffic.contradicted:
        yield broken("an entry was decided twice, and differently", place_of(key))
    for key, row in case.traffic.entries.items():
        if (row.sender is None) != (row.fate == "refused"):
            yield broken(f"a fate {row.fate!r} names {row.sender or 'no sender'}", place_of(key))


def _outboxes(case: Case) -> Iterator[Finding]:
    entries = {key_of(control.shard, control.id) for control in case.plan} | case.traffic.entries.keys()
    recorded = Counter(shard for shard, _, _ in entries)
    for shard in recorded.keys() - case.streams.outboxes.keys():
        yield unproven(f"the entries of outbox {shard} were not counted")
    for shard, count in case.streams.outboxes.items():
        missing = count.added - recorded[shard]
        if missing > 0:
            why = f"{missing} of {count.added} entries of outbox {shard} have no fate"
            yield _vanished(case, why, _unfated(case, shard))
        elif missing < 0:
            yield broken(f"{-missing} more entries were decided than outbox {shard} ever had", f"outbox {shard}")


def _inboxes(case: Case) -> Iterator[Finding]:
    copies, repeats = case.traffic.copies_by_receiver(), case.traffic.repeats_by_receiver()
    inboxes, contradictions = case.streams.inboxes, case.streams.contradictions
    for robot in sorted(copies.keys() - inboxes.keys()):
        yield unproven(f"the entries of {robot}'s inbox were not counted")
    for robot, count in inboxes.items():
        surplus = count.added - copies[robot] - contradictions.get(robot, 0)
        if surplus < 0:
            yield _vanished(case, f"{-surplus} of {copies[robot]} copies for {robot} never came", f"inbox of {robot}")
        elif surplus > repeats[robot]:
            yield broken(
                f"{robot} got {surplus} more copies than were decided, and {repeats[robot]} may come of redone entries",
                f"inbox of {robot}",
            )


def _vanished(case: Case, why: str, witness: str) -> Finding:
    """What is missing convicts the relays only if they could finish."""
    return broken(why, witness) if case.ended_in_order else unproven(f"{why}, but the run was interrupted")


def _unfated(case: Case, shard: int) -> str:
    """An envelope without a fate that its sender says it sent; else just the outbox."""
    fated = case.traffic.copies_by_address()
    for stamped in [] if "events" in case.damage else case.events:
        event = stamped.event
        if isinstance(event, MessageSent):
            address = (stamped.source, stamped.incarnation, event.receiver, event.sequence)
            if address not in fated:
                return f"{address[0]}/{address[1]}'s envelope {event.sequence} to {event.receiver}"
    return f"outbox {shard}"
