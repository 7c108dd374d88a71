"""Accounted: every outbox entry has its fate, and every inbox its copies. Judged by plan, fates and stream counters.

A held partition, a dead relay or a lost run may explain a gap: then the promise is UNPROVEN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from telemetry.events import MessageRefused
from telemetry.verdict.case import Case
from telemetry.verdict.checks.fate_check import (
    SentEnvelope,
    contradictory_fates,
    recorded_entries,
    undecided_envelopes,
    unrecorded_counts,
)
from telemetry.verdict.finding import Finding, broken, held, unproven, worst

_NO_FRAME: Final = "frame of "
"""How the reason begins why an entry is refused that is too short or too long for any envelope."""


def accounted(case: Case) -> Finding:
    """Every outbox entry has its fate, and every inbox got the copies that the fates demand."""

    def findings() -> Iterator[Finding]:
        yield from contradictory_fates(case)
        yield from _outboxes(case)
        yield from _inboxes(case)

    entries = len(case.traffic.entries)
    copies = case.traffic.copies_by_receiver().total()
    why = f"{entries} entries have their fates, and {copies} copies their inboxes"
    return worst(findings(), otherwise=held(why, entries))


def _outboxes(case: Case) -> Iterator[Finding]:
    left, sent = unrecorded_counts(case), {} if "events" in case.damage else undecided_envelopes(case)
    for shard in sorted({key[0] for key in recorded_entries(case)} - left.keys()):
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
            yield unproven(f"{envelopes[0]} was sent, and no outbox entry is left for it")


def _holding(case: Case, shard: int, sent: Iterable[SentEnvelope]) -> str:
    """The partitions that hold all of `sent` back; empty when they let some of it pass."""
    if not all(case.rulebook.held_at_the_end(shard, envelope.sender, envelope.receiver) for envelope in sent):
        return ""
    return ", ".join(rule.text for rule in case.rulebook.holds_at_the_end(shard))


def _inboxes(case: Case) -> Iterator[Finding]:
    copies, redone = case.traffic.copies_by_receiver(), case.traffic.redone_copies_by_receiver()
    inboxes, contradictions = case.streams.inboxes, case.streams.contradictions
    for robot in sorted(copies.keys() - inboxes.keys()):
        yield unproven(f"the entries of {robot}'s inbox were not counted")
    for robot, count in inboxes.items():
        surplus = count.added - copies[robot] - contradictions.get(robot, 0)
        if surplus < 0:
            why = f"{-surplus} of {copies[robot]} copies for {robot} never came"
            held_back = case.traffic.copies_by_receiver(case.abandoned_shards)[robot]
            yield _vanished(case, why, f"inbox of {robot}", -surplus <= held_back)
        elif 0 < surplus - redone[robot] <= (foreign := _foreign(case, robot)):
            yield unproven(
                f"{robot} reports {foreign} entries of its inbox that were no envelopes: other clients wrote there"
            )
        elif surplus > redone[robot]:
            may_be = f"and {redone[robot]} may come from redone entries"
            yield _invented(case, f"{robot} got {surplus} more copies than were decided, {may_be}", f"inbox of {robot}")


def _foreign(case: Case, robot: str) -> int:
    """How many entries of the robot's inbox held no frame that a relay could have put there, as its lives report."""
    if "events" in case.damage or "journals" in case.damage:
        return 0
    refused = {
        stamped.event.entry
        for (source, _), events in case.testimony.items()
        if source == robot
        for stamped in events
        if isinstance(stamped.event, MessageRefused) and stamped.event.reason.startswith(_NO_FRAME)
    }
    return len(refused)


def _vanished(case: Case, why: str, witness: str, abandoned: bool) -> Finding:
    """A gap is BROKEN only if the relays could finish. `abandoned`: the death of a relay explains the gap."""
    if not case.ended_in_order:
        return unproven(f"{why}, but the run was {'lost' if case.is_lost else 'interrupted'}")
    if abandoned:
        return unproven(f"{why}: its relay died and was not replaced")
    return broken(why, witness)


def _invented(case: Case, why: str, witness: str) -> Finding:
    """A copy or fate too many is BROKEN, unless the run lost decisions or counters."""
    return unproven(f"{why}, but the run was lost") if case.is_lost else broken(why, witness)
