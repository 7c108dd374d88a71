"""A run's conductor as it stands now: one that got the same requests, at the same times, as those who conducted it.

For a supervisor that takes over, and for onlookers. Nobody is told anything from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from broker.control_entries import Met
from broker.faults.schedule import Timed
from broker.faults.scheduler import Conductor

BEFORE_GO_US: Final = -1  # whenever that was: before `go` it is always the same to a conductor


def conductor_so_far(plan: Iterable[Timed], for_us: int, met: Iterable[Met], go_ms: int | None) -> Conductor:
    """The conductor of `plan`, after the requests among the changes that a relay has `met`. `go_ms` is when the order
    `go` was given, by the server's clock; None: not yet."""
    conductor, answered = Conductor(plan, for_us), set[str]()
    for change in met:
        request = change.change.request
        if request and request not in answered and not change.change.refusal:
            answered.add(request)  # its control entry stands twice when a reply was lost
            after_go_us = BEFORE_GO_US if go_ms is None else max(BEFORE_GO_US, (change.at_ms - go_ms) * 1000)
            conductor.answer(request, change.change.words, after_go_us)
    return conductor
