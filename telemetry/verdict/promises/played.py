"""Played: what the plan wanted to happen, happened, in time and with its effect; and nothing else did.

The judge computes from the plan of the settings, and from the requests that the leader answered, what must be in force
and what must be injected when (recomputed/plan_times.py), and compares that with the plan's entries in every outbox
(played_changes.py), the injections of the fleet log (played_injections.py), and their effects (played_effects.py). A
run owes nothing that was due only after its end.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.verdict.case import Case
from telemetry.verdict.checks.excuses import Excuses
from telemetry.verdict.evidence.fleet import ms_of
from telemetry.verdict.evidence.schema import AcknowledgementRow, PlanRow
from telemetry.verdict.evidence.traffic import Key, key_of
from telemetry.verdict.finding import EvidenceError, Finding, held, unproven, worst
from telemetry.verdict.promises.played_changes import wrong_changes
from telemetry.verdict.promises.played_effects import missing_effects
from telemetry.verdict.promises.played_injections import injected_after_go, wrong_injections
from telemetry.verdict.recomputed.plan_lines import read_line
from telemetry.verdict.recomputed.plan_times import BEFORE_GO_US, PlanTimes, Request


def played(case: Case) -> Finding:
    """The plan and its injections happened as planned, each with its effect."""
    go_ms = case.order_ms("go")
    if go_ms is None:
        return unproven("the order go was never given: nothing was due yet")
    times, excuses = _times(case, go_ms), Excuses(case)

    def findings() -> Iterator[Finding]:
        yield from wrong_changes(case, times, excuses, go_ms)
        yield from wrong_injections(case, times.due(), excuses, go_ms)
        yield from missing_effects(case, excuses, go_ms)

    faults = sum(map(len, times.standing().values()))
    injections = len(injected_after_go(case, go_ms))
    why = f"as the plan wanted; faults that stood when they were due: {faults}, injections: {injections}"
    return worst(findings(), otherwise=held(why if faults + injections else "the plan is empty", faults + injections))


def _times(case: Case, go_ms: int) -> PlanTimes:
    settings = case.settings
    if len(settings.instances) != len(settings.plan):
        raise EvidenceError(f"settings.json has {len(settings.plan)} lines, but {len(settings.instances)} instances")
    lines = [read_line(text, number) for number, text in zip(settings.instances, settings.plan, strict=True)]
    return PlanTimes(lines, settings.for_us, _requests(case, go_ms), (case.end_ms - go_ms) * 1000)


def _requests(case: Case, go_ms: int) -> list[Request]:
    """The requests that were answered and not refused, in the order in which people made them. The first answer to each
    counts."""
    answers: dict[Key, Request] = {}
    for row in sorted([*_answers(case)], key=lambda row: ms_of(row.id)):
        if not row.refusal:
            at_us = max(BEFORE_GO_US, (ms_of(row.id) - go_ms) * 1000)
            answers.setdefault(_place(row.request_id), Request(at_us, row.request))
    return [answers[key] for key in sorted(answers)]


def _place(request_id: str) -> Key:
    """Where the request stands among all; anybody may write an answer, and what is no id comes first."""
    try:
        return key_of(0, request_id)
    except ValueError:
        return 0, 0, 0


def _answers(case: Case) -> Iterator[PlanRow | AcknowledgementRow]:
    yield from (row for row in case.plan if isinstance(row, PlanRow) and row.request_id)
    yield from case.fleet.acknowledgements
