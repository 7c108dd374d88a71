"""Unique: no index had two words at a robot; a contradictory update was refused and its worker restarted.

What is asked of contradictory updates that were injected stands in unique_contradictions.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.events import InvariantViolated, Stamped, WorkerGaveUp, WorkerRestarted
from telemetry.verdict.case import Case
from telemetry.verdict.checks.dealt_parts import DealtParts, changed_parts
from telemetry.verdict.checks.membership import missing_evidence
from telemetry.verdict.checks.restart_policy import WORKERS_GRACE_US
from telemetry.verdict.checks.witnesses import gaps
from telemetry.verdict.evidence.journals import Life, RobotJournal
from telemetry.verdict.finding import Finding, broken, held, worst
from telemetry.verdict.promises.unique_contradictions import contradictions, unanswered_contradictions


def unique(case: Case) -> Finding:
    """No index had two words at a robot; a contradictory update was refused, and its worker restarted."""

    def findings() -> Iterator[Finding]:
        dealt = DealtParts(case.deal)
        for journal in case.journals.values():
            for before, after in changed_parts(journal):
                yield broken(
                    f"part {after.row.index} has two words or last marks: see also {before.place}",
                    journal.witness(after.incarnation, after.number),
                    lasting=True,
                )
            yield from _one_end(journal)
            yield from _never_dealt(journal, dealt)
        yield from missing_evidence(case)
        for life, events in case.testimony.items():
            yield from _ignored(life, events)
        yield from unanswered_contradictions(case)
        yield from gaps(case)

    parts = sum(len(journal.parts) for journal in case.journals.values())
    finding = worst(findings(), otherwise=held("every part that a robot ever held is the one that was dealt", parts))
    if finding.state == "HELD" and (injected := len(contradictions(case))):
        return held(f"{finding.why}; contradictory updates that were injected: {injected}", parts + injected)
    return finding


def _one_end(journal: RobotJournal) -> Iterator[Finding]:
    """At most one index is marked last, and none stands behind it."""
    ends = [part for part in journal.parts if part.row.last]
    for end in ends:
        behind = next((part for part in journal.parts if part.row.index > end.row.index), None)
        if behind is not None:
            yield broken(
                f"part {end.row.index} is marked last, and part {behind.row.index} stands behind it",
                journal.witness(behind.incarnation, behind.number),
                lasting=True,
            )


def _never_dealt(journal: RobotJournal, dealt: DealtParts) -> Iterator[Finding]:
    for part in journal.parts:
        if not dealt.include(part.row):
            yield broken(
                f"part {part.row.index} is a word that was never dealt",
                journal.witness(part.incarnation, part.number),
                lasting=True,
            )


def _ignored(life: Life, events: list[Stamped]) -> Iterator[Finding]:
    """Violations without a restart of the secret merger, although the life went on."""
    for place, stamped in enumerate(events):
        if isinstance(stamped.event, InvariantViolated) and _went_on(stamped, events[place + 1 :]):
            yield broken(
                f"{life[0]} refused a contradictory update of part {stamped.event.index}, "
                "and its secret_merger was not restarted",
                f"event {stamped.number} of {life[0]}/{life[1]}",
            )


def _went_on(violation: Stamped, later: list[Stamped]) -> bool:
    """Whether the life went on for longer than a restart takes, and reported none."""
    for stamped in later:
        if isinstance(stamped.event, WorkerRestarted | WorkerGaveUp) and stamped.event.worker.endswith("secret_merger"):
            return False
        if stamped.monotonic_us - violation.monotonic_us > WORKERS_GRACE_US:
            return True
    return False
