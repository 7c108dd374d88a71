"""Promises about the network: honest faults, every entry accounted for. Judged by plan, fates and stream counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from telemetry.events import MessageSent
from telemetry.verdict.case import Case
from telemetry.verdict.finding import Finding, broken, held, unproven, worst
from telemetry.verdict.honesty import contradicted, dishonest
from telemetry.verdict.tallies import IMPOSSIBLE, tallies
from telemetry.verdict.traffic import Key, key_of, place_of


class Sent(NamedTuple):
    """An envelope, as its sender tells of it."""

    sender: str
    incarnation: int
    receiver: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.sender}/{self.incarnation}'s envelope {self.sequence} to {self.receiver}"


def honest_faults(case: Case) -> Finding:
    """Every recorded fate equals the recomputed one, and no fault acted more or less often than chance can explain."""

    def findings() -> Iterator[Finding]:
        yield from _contradicted(case)
        for row, ruling, key in dishonest(case):
            yield broken(
                f"the fate of {row.sender}/{row.incarnation}'s envelope {row.sequence} to {row.receiver} was "
                f"{row.fate} {list(row.deliveries)}, its dice say {ruling.fate} {list(ruling.deliveries)}",
                place_of(key),
            )
        yield from _beyond_chance(case)
        yield from _taken_for_garbage(case)
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
    for key in contradicted(case):
        yield broken("an entry was decided twice, and differently", place_of(key))
    for key, row in case.traffic.entries.items():
        if (row.sender is None) != (row.fate == "refused"):
            yield broken(f"a fate {row.fate!r} names {row.sender or 'no sender'}", place_of(key))


def _beyond_chance(case: Case) -> Iterator[Finding]:
    """Faults whose rate is not the one that was set, by more than dice may differ."""
    for tally in tallies(case):
        if tally.surprise < IMPOSSIBLE:
            yield broken(
                f"{tally.rule.text!r} acted on {tally.hits} of {tally.throws} envelopes: the chance of that is "
                f"{tally.surprise:.0e}",
                f"fault {tally.rule.instance}",
            )


def _outboxes(case: Case) -> Iterator[Finding]:
    left, sent = _left(case), {} if "events" in case.damage else _unfated(case)
    for shard in sorted({key[0] for key in _entries(case)} - left.keys()):
        yield unproven(f"the entries of outbox {shard} were not counted")
    for shard, missing in left.items():
        added = case.streams.outboxes[shard].added
        if missing > 0:
            why = f"{missing} of {added} entries of outbox {shard} have no fate"
            if holding := _holding(case, shard, sent.get(shard, ())):
                yield unproven(f"{why}: {holding} held envelopes back until the end of the record, and kept them")
                continue
            witness = next((str(envelope) for envelope in sent.get(shard, ())), f"outbox {shard}")
            yield _vanished(case, why, witness, shard in case.abandoned_shards)
        elif missing < 0:
            yield _invented(
                case, f"{-missing} more entries were decided than outbox {shard} ever had", f"outbox {shard}"
            )
    for sender_shard, envelopes in sent.items():
        if sender_shard is None or len(envelopes) > left.get(sender_shard, 0):
            yield unproven(f"{envelopes[0]} was sent, and no outbox entry is left to be it")


def _holding(case: Case, shard: int, sent: Iterable[Sent]) -> str:
    """The partitions that explain why `sent` has no fate; empty when they do not, because they let some of it pass."""
    if not all(case.rulebook.held_at_the_end(shard, envelope.sender, envelope.receiver) for envelope in sent):
        return ""
    return ", ".join(rule.text for rule in case.rulebook.holding_at_the_end(shard))


def _inboxes(case: Case) -> Iterator[Finding]:
    copies, repeats = case.traffic.copies_by_receiver(), case.traffic.repeats_by_receiver()
    inboxes, contradictions = case.streams.inboxes, case.streams.contradictions
    for robot in sorted(copies.keys() - inboxes.keys()):
        yield unproven(f"the entries of {robot}'s inbox were not counted")
    for robot, count in inboxes.items():
        surplus = count.added - copies[robot] - contradictions.get(robot, 0)
        if surplus < 0:
            why = f"{-surplus} of {copies[robot]} copies for {robot} never came"
            held_back = case.traffic.copies_by_receiver(case.abandoned_shards)[robot]
            yield _vanished(case, why, f"inbox of {robot}", -surplus <= held_back)
        elif surplus > repeats[robot]:
            may_be = f"and {repeats[robot]} may come of redone entries"
            yield _invented(case, f"{robot} got {surplus} more copies than were decided, {may_be}", f"inbox of {robot}")


def _vanished(case: Case, why: str, witness: str, abandoned: bool) -> Finding:
    """What is missing convicts relays only if they could finish; `abandoned`: a dead one explains what is missing."""
    if not case.ended_in_order:
        return unproven(f"{why}, but the run was {'lost' if case.is_lost else 'interrupted'}")
    if abandoned:
        return unproven(f"{why}: its relay died and was not replaced")
    return broken(why, witness)


def _invented(case: Case, why: str, witness: str) -> Finding:
    """What nobody decided, or nobody sent, convicts relays unless decisions or counters may be lost."""
    return unproven(f"{why}, but the run was lost") if case.is_lost else broken(why, witness)


def _taken_for_garbage(case: Case) -> Iterator[Finding]:
    """Envelopes that a relay must have refused, since there are more of them than entries without a fate.

    Garbage that somebody put into an outbox by hand is refused, and rightly.
    """
    refused = {key[0]: key for key, row in case.traffic.entries.items() if row.fate == "refused"}
    if not refused:
        return
    left = _left(case)
    for shard, envelopes in _unfated(case).items():
        if shard in refused and shard in left and len(envelopes) > left[shard]:
            yield broken(f"{envelopes[0]} was sent, and refused as garbage", place_of(refused[shard]))


def _entries(case: Case) -> set[Key]:
    """Every outbox entry of which the record tells."""
    return {key_of(control.shard, control.id) for control in case.plan} | case.traffic.entries.keys()


def _left(case: Case) -> dict[int, int]:
    """How many entries of each outbox the record tells nothing of."""
    recorded = Counter(shard for shard, _, _ in _entries(case))
    return {shard: count.added - recorded[shard] for shard, count in case.streams.outboxes.items()}


def _unfated(case: Case) -> dict[int | None, list[Sent]]:
    """By shard, the envelopes that their senders say they sent, and that no fate names."""
    fated = case.traffic.readable_copies
    unfated: dict[int | None, list[Sent]] = {}
    for stamped in case.events:
        event = stamped.event
        if isinstance(event, MessageSent):
            sent = Sent(stamped.source, stamped.incarnation, event.receiver, event.sequence)
            if sent not in fated:
                unfated.setdefault(case.shards.get(stamped.source), []).append(sent)
    return unfated
