"""Promises about what robots know: monotonic, unique, idempotent. Judged by the journals, against deal and fates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from telemetry.events import (
    InvariantViolated,
    MessageSent,
    PartsMerged,
    RobotComplete,
    Stamped,
    WorkerGaveUp,
    WorkerRestarted,
)
from telemetry.verdict.case import Case
from telemetry.verdict.finding import CannotTell, Finding, broken, held, unproven, worst
from telemetry.verdict.journals import Entry, Journal, Life, PartEntry
from telemetry.verdict.roster import absences
from telemetry.verdict.rows import Deal, HeaderRow, LifeRow, PartRow
from telemetry.verdict.witnesses import gaps, lost_tails

_GRACE_US = 1_000_000
"""A life that goes on for so long after a violation, and announces no restart, has swallowed it."""


def monotonic(case: Case) -> Finding:
    """No robot lost or changed a part, across its lives."""

    def findings() -> Iterator[Finding]:
        words, holdings = _Words(case.deal), _holdings(case.deal)
        for journal in case.journals.values():
            yield from _in_order(journal)
            yield from _begins_as_dealt(journal, holdings.get(journal.robot, set()), words)
            for before, after in _changes(journal):
                yield broken(
                    f"part {after.row.index} became another one than it was at {_place(before)}",
                    journal.witness(after.incarnation, after.number),
                )
        yield from absences(case)
        yield from _untold(case)
        yield from _summaries(case)
        yield from gaps(case)

    finding = worst(findings(), otherwise=held("every journal only grew, and holds what its summaries showed"))
    if finding.state == "HELD" and (tails := lost_tails(case)):
        named = ", ".join(f"tail of {robot}/{life}" for robot, life in tails[:3])
        return held(f"{finding.why}; lost: {named}" + f" and {len(tails) - 3} more" * (len(tails) > 3))
    return finding


def unique(case: Case) -> Finding:
    """No index ever had two words at a robot; a contradiction was refused, and its worker restarted."""

    def findings() -> Iterator[Finding]:
        words = _Words(case.deal)
        for journal in case.journals.values():
            for before, after in _changes(journal):
                yield broken(
                    f"part {after.row.index} has two words or last marks: see also {_place(before)}",
                    journal.witness(after.incarnation, after.number),
                )
            yield from _one_end(journal)
            yield from _never_dealt(journal, words)
        yield from absences(case)
        for life, events in case.testimony.items():
            yield from _swallowed(life, events)
        yield from gaps(case)

    return worst(findings(), otherwise=held("every part that a robot ever held is the one that was dealt"))


def idempotent(case: Case) -> Finding:
    """A copy merged nothing if an earlier copy's merge was journalled; and what was merged had come undamaged."""

    def findings() -> Iterator[Finding]:
        for journal in case.journals.values():
            yield from _merged_again(journal)
        for journal in case.journals.values():
            yield from _undelivered(case, journal)
        yield from absences(case)

    merged = sum(part.row.cause is not None for journal in case.journals.values() for part in journal.parts)
    return worst(findings(), otherwise=held(f"{merged} parts were merged, each once and from a delivered copy"))


class _Words:
    """Recognises dealt parts by their digests; a part that was recognised once is compared directly."""

    def __init__(self, deal: Deal) -> None:
        self._salt = bytes.fromhex(deal.salt)
        self._digests = {part.index: part.digest for part in deal.indices}
        self._known: dict[int, tuple[str, bool]] = {}
        if len(self._digests) != deal.parts or max(self._digests, default=-1) != deal.parts - 1:
            raise CannotTell(f"deal.json counts {deal.parts} parts, and tells of {len(self._digests)}")

    def holds(self, part: PartRow) -> bool:
        """Whether exactly this part was dealt to somebody."""
        if self._known.get(part.index) == (part.word, part.last):
            return True
        text = f"{part.index}:{1 if part.last else 0}:{part.word}".encode()
        if hashlib.blake2b(text, key=self._salt, digest_size=16).hexdigest() != self._digests.get(part.index):
            return False
        self._known[part.index] = part.word, part.last
        return True


def _holdings(deal: Deal) -> dict[str, set[int]]:
    """Which indices each robot was dealt."""
    holdings: dict[str, set[int]] = {}
    for part in deal.indices:
        for robot in part.holders:
            holdings.setdefault(robot, set()).add(part.index)
    return holdings


def _place(entry: Entry | PartEntry) -> str:
    return f"{entry.incarnation}-{entry.number}"


def _in_order(journal: Journal) -> Iterator[Finding]:
    """Entries stand 1, 2, 3 … within a life; lives 1, 2, 3 … begin with their birth; the dealer's come first."""
    previous: Entry | None = None
    for entry in journal.entries:
        if not _follows(previous, entry):
            before = "the beginning" if previous is None else _place(previous)
            yield broken(
                f"an entry is missing or out of place between {before} and {_place(entry)}",
                journal.witness(entry.incarnation, entry.number),
            )
            return
        previous = entry


def _follows(previous: Entry | None, entry: Entry) -> bool:
    place, row = (entry.incarnation, entry.number), entry.row
    if previous is None:
        return place == (0, 1) and isinstance(row, HeaderRow)
    if place == (previous.incarnation + 1, 1):
        return isinstance(row, LifeRow)
    if place != (previous.incarnation, previous.number + 1):
        return False
    return isinstance(row, PartRow) if entry.incarnation == 0 else not isinstance(row, HeaderRow | LifeRow)


def _begins_as_dealt(journal: Journal, holding: set[int], words: _Words) -> Iterator[Finding]:
    """The dealer's entries are the parts of the deal, no more and no fewer."""
    if journal.lost:
        return
    dealt = [part for part in journal.parts if part.incarnation == 0]
    for part in dealt:
        if part.row.index not in holding or not words.holds(part.row):
            yield broken(
                f"{journal.robot} begins with a part {part.row.index} that it was not dealt",
                journal.witness(part.incarnation, part.number),
            )
    missing = holding - {part.row.index for part in dealt}
    if missing:
        yield broken(
            f"{journal.robot} was dealt part {min(missing)}, and does not hold it", f"journal of {journal.robot}"
        )


def _changes(journal: Journal) -> Iterator[tuple[PartEntry, PartEntry]]:
    """Pairs of entries that say something different of the same index."""
    first: dict[int, PartEntry] = {}
    for part in journal.parts:
        before = first.setdefault(part.row.index, part)
        if before is not part and (before.row.word, before.row.last) != (part.row.word, part.row.last):
            yield before, part


def _one_end(journal: Journal) -> Iterator[Finding]:
    """At most one index is marked last, and none stands behind it."""
    ends = [part for part in journal.parts if part.row.last]
    for end in ends:
        behind = next((part for part in journal.parts if part.row.index > end.row.index), None)
        if behind is not None:
            yield broken(
                f"part {end.row.index} is marked last, and part {behind.row.index} stands behind it",
                journal.witness(behind.incarnation, behind.number),
            )


def _never_dealt(journal: Journal, words: _Words) -> Iterator[Finding]:
    for part in journal.parts:
        if not words.holds(part.row):
            yield broken(
                f"part {part.row.index} is a word that was never dealt", journal.witness(part.incarnation, part.number)
            )


def _swallowed(life: Life, events: list[Stamped]) -> Iterator[Finding]:
    """Violations after which the secret merger was not restarted, although the life went on."""
    for place, stamped in enumerate(events):
        if isinstance(stamped.event, InvariantViolated) and _went_on(stamped, events[place + 1 :]):
            yield broken(
                f"{life[0]} met a contradiction of part {stamped.event.index}, and its secret_merger was not restarted",
                f"event {stamped.number} of {life[0]}/{life[1]}",
            )


def _went_on(violation: Stamped, later: list[Stamped]) -> bool:
    for stamped in later:
        if isinstance(stamped.event, WorkerRestarted | WorkerGaveUp) and stamped.event.worker.endswith("secret_merger"):
            return False
        if stamped.monotonic_us - violation.monotonic_us > _GRACE_US:
            return True
    return False


def _untold(case: Case) -> Iterator[Finding]:
    """What a life told of its merges stands in its journal, because it is journalled before it is told."""
    for (robot, life), events in case.testimony.items():
        journal = case.journals[robot]
        at_birth, at_end = journal.counts[life]
        completed = life in journal.completed_lives or (journal.complete and at_birth == at_end)
        for stamped in events:
            witness = f"event {stamped.number} of {robot}/{life}"
            match stamped.event:
                case PartsMerged(held=told) if told > at_end:
                    yield broken(f"{robot} told of {told} parts, and its journal holds {at_end}", witness)
                case RobotComplete() if not completed:
                    yield broken(f"{robot} told that it was complete, and did not journal it", witness)


def _summaries(case: Case) -> Iterator[Finding]:
    """Whatever a summary showed as known stood in the journal, in that life."""
    shown: dict[str, list[tuple[Stamped, MessageSent]]] = {}
    for stamped in case.events:
        if isinstance(stamped.event, MessageSent) and stamped.event.kind == "summary":
            shown.setdefault(stamped.source, []).append((stamped, stamped.event))
    for robot, summaries in shown.items():
        journal = case.journals.get(robot)
        if journal is not None and not journal.lost:
            yield from _shown_and_not_held(journal, summaries)


def _shown_and_not_held(journal: Journal, summaries: list[tuple[Stamped, MessageSent]]) -> Iterator[Finding]:
    digests = journal.digests({event.held for _, event in summaries})
    counts = journal.counts
    for stamped, event in summaries:
        at_birth, at_end = counts.get(stamped.incarnation, (0, -1))
        if not event.digest:
            yield unproven(f"a summary of {journal.robot} does not tell what it showed")
        elif not at_birth <= event.held <= at_end or digests.get(event.held) != event.digest:
            yield broken(
                f"{journal.robot} showed {event.held} parts as known that its journal never held in that life",
                f"event {stamped.number} of {stamped.source}/{stamped.incarnation}",
            )


def _merged_again(journal: Journal) -> Iterator[Finding]:
    first: dict[int, PartEntry] = {}
    for part in journal.parts:
        before = first.setdefault(part.row.index, part)
        if before is part:
            continue
        if before.row.cause is not None and part.row.cause is not None and before.row.cause[:3] == part.row.cause[:3]:
            how = f"copy {part.row.cause[3]} merged part {part.row.index}, which copy {before.row.cause[3]} had merged"
        else:
            how = f"part {part.row.index} was merged although it was known since {_place(before)}"
        yield broken(how, journal.witness(part.incarnation, part.number))


def _undelivered(case: Case, journal: Journal) -> Iterator[Finding]:
    """Every part of a life was brought by a copy that the fates show as delivered to this robot, and not as corrupt."""
    copies = case.traffic.readable_copies
    for part in journal.parts:
        if part.incarnation == 0:
            continue
        witness = journal.witness(part.incarnation, part.number)
        if part.row.cause is None:
            yield broken(f"part {part.row.index} was merged, and nothing brought it", witness)
            continue
        sender, incarnation, sequence, copy = part.row.cause
        delivered = copies.get((sender, incarnation, journal.robot, sequence))
        what = f"envelope {sequence} of {sender}/{incarnation}"
        if delivered is None and not _was_finished(case, case.shards.get(sender)):
            yield unproven(f"the fate of {what} to {journal.robot} is not recorded")
        elif not 0 <= copy < (delivered or 0):
            yield broken(f"part {part.row.index} came with copy {copy} of {what}, which never came undamaged", witness)


def _was_finished(case: Case, shard: int | None) -> bool:
    """Whether all fates of a shard must have been recorded by the end."""
    return case.ended_in_order and shard not in case.abandoned_shards
