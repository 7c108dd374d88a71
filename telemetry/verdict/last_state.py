"""Why a run was not done when it was stopped, by its events and its deal. It judges nothing, and no promise rests on
it.
"""

from __future__ import annotations

from telemetry.diagnosis.causes import diagnose
from telemetry.verdict.case import Case
from telemetry.verdict.recomputed.links import Links
from telemetry.view import view_at


def diagnosis(case: Case) -> list[str]:
    """The causes, the gravest first; empty when the run was done, or none is known. Raises EvidenceError."""
    if case.written is not None and all(journal.complete for journal in case.journals.values()):
        return []
    view = view_at(case.events, case.end_ms * 1000)
    holders = {part.index: part.holders for part in case.deal.indices}
    return [cause.text for cause in diagnose(view, holders, Links)]
