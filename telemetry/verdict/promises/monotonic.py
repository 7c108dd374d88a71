"""Monotonic: no robot lost or changed a part, across its lives. Judged by journals and deal.

Events only convict: a reported merge or a summary's digest must agree with the journal.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.events import MessageSent, PartsMerged, RobotComplete, Stamped
from telemetry.verdict.case import Case
from telemetry.verdict.checks.dealt_parts import DealtParts, changed_parts
from telemetry.verdict.checks.membership import missing_evidence
from telemetry.verdict.checks.witnesses import gaps, lost_tails
from telemetry.verdict.evidence.journals import Entry, RobotJournal
from telemetry.verdict.evidence.schema import DealFile, HeaderRow, LifeRow, PartRow
from telemetry.verdict.finding import Finding, broken, held, unproven, worst


def monotonic(case: Case) -> Finding:
    """No robot lost or changed a part, across its lives."""

    def findings() -> Iterator[Finding]:
        dealt, holders = DealtParts(case.deal), _dealt_indices(case.deal)
        for journal in case.journals.values():
            yield from _in_order(journal)
            yield from _begins_as_dealt(journal, holders.get(journal.robot, set()), dealt)
            for before, after in changed_parts(journal):
                yield broken(
                    f"part {after.row.index} became another one than it was at {before.place}",
                    journal.witness(after.incarnation, after.number),
                    lasting=True,
                )
        yield from missing_evidence(case)
        yield from _reports_beyond_journal(case)
        yield from _summaries(case)
        yield from gaps(case)

    entries = sum(len(journal.entries) for journal in case.journals.values())
    finding = worst(findings(), otherwise=held("every journal only grew, and holds what its summaries showed", entries))
    if finding.state == "HELD" and (tails := lost_tails(case)):
        named = ", ".join(f"tail of {robot}/{life}" for robot, life in tails[:3])
        return held(f"{finding.why}; lost: {named}" + f" and {len(tails) - 3} more" * (len(tails) > 3), entries)
    return finding


def _dealt_indices(deal: DealFile) -> dict[str, set[int]]:
    """By robot, the indices that it was dealt."""
    indices: dict[str, set[int]] = {}
    for part in deal.indices:
        for robot in part.holders:
            indices.setdefault(robot, set()).add(part.index)
    return indices


def _in_order(journal: RobotJournal) -> Iterator[Finding]:
    """Entries are numbered 1, 2, 3 … within a life; lives 1, 2, 3 … begin with their birth; the dealer's come first."""
    previous: Entry | None = None
    for entry in journal.entries:
        if not _follows(previous, entry):
            before = "the beginning" if previous is None else previous.place
            yield broken(
                f"an entry is missing or out of place between {before} and {entry.place}",
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


def _begins_as_dealt(journal: RobotJournal, indices: set[int], dealt: DealtParts) -> Iterator[Finding]:
    """The dealer's entries are the parts of the deal, no more and no fewer."""
    if journal.lost:
        return
    first = [part for part in journal.parts if part.incarnation == 0]
    for part in first:
        if part.row.index not in indices or not dealt.include(part.row):
            yield broken(
                f"{journal.robot} begins with a part {part.row.index} that it was not dealt",
                journal.witness(part.incarnation, part.number),
            )
    missing = indices - {part.row.index for part in first}
    if missing:
        yield broken(
            f"{journal.robot} was dealt part {min(missing)}, and does not hold it", f"journal of {journal.robot}"
        )


def _reports_beyond_journal(case: Case) -> Iterator[Finding]:
    """Events that report more than the journal holds: a robot journals first, and reports then."""
    for (robot, life), events in case.testimony.items():
        journal = case.journals[robot]
        at_birth, at_end = journal.counts[life]
        completed = life in journal.completed_lives or (journal.complete and at_birth == at_end)
        for stamped in events:
            witness = f"event {stamped.number} of {robot}/{life}"
            match stamped.event:
                case PartsMerged(held=reported) if reported > at_end:
                    yield broken(f"{robot} reported {reported} parts, and its journal holds {at_end}", witness)
                case RobotComplete() if not completed:
                    yield broken(f"{robot} reported that it was complete, and did not journal it", witness)


def _summaries(case: Case) -> Iterator[Finding]:
    """Summaries and answers that showed parts which the journal did not hold in that life."""
    shown: dict[str, list[tuple[Stamped, MessageSent]]] = {}
    for stamped in case.events:
        if isinstance(stamped.event, MessageSent) and stamped.event.kind in ("summary", "answer"):
            shown.setdefault(stamped.source, []).append((stamped, stamped.event))
    for robot, summaries in shown.items():
        journal = case.journals.get(robot)
        if journal is not None and not journal.lost:
            yield from _shown_and_not_held(journal, summaries)


def _a(event: MessageSent) -> str:
    return "an answer" if event.kind == "answer" else "a summary"


def _shown_and_not_held(journal: RobotJournal, summaries: list[tuple[Stamped, MessageSent]]) -> Iterator[Finding]:
    digests = journal.digests({event.held for _, event in summaries})
    counts = journal.counts
    for stamped, event in summaries:
        at_birth, at_end = counts.get(stamped.incarnation, (0, -1))
        if not event.digest:
            yield unproven(f"{_a(event)} of {journal.robot} has no digest")
        elif not at_birth <= event.held <= at_end or digests.get(event.held) != event.digest:
            yield broken(
                f"{journal.robot} showed {event.held} parts as known that its journal never held in that life",
                f"event {stamped.number} of {stamped.source}/{stamped.incarnation}",
            )
