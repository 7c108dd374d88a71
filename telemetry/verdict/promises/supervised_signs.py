"""Supervised, by signs of life: a supervisor's report of a restart proves nothing, what workers do themselves does.

* Fates: a life that goes on after a crash of any of its workers answers summaries. If five or more came undamaged, each
  6 s or more after the crash's longest delay and 5 s before the end, and it sent no answer in all that time, its inbox
  reader, summary processor or outbox writer is gone. No life is judged that was paused or reported envelopes dropped,
  nor one whose relay or server was touched meanwhile.
* A worker that runs again reports so itself, in its first step. 3 s after its delay it must have.
* A worker that lives when its life ends in order reports that, too. One that does not was gone, unless its life ended
  less than 3 s after it was to be restarted.

A life whose events are not all there shows nothing here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from telemetry.events import (
    MessageDropped,
    RobotLeft,
    Stamped,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerLeft,
    WorkerRestarted,
    WorkerStarted,
)
from telemetry.verdict.case import Case
from telemetry.verdict.checks.restart_policy import MOST_RESTARTS, ROBOTS_GRACE_US, longest_us
from telemetry.verdict.checks.witnesses import CLOCKS_DIFFER_US, first_missing, lived_until_us
from telemetry.verdict.evidence.fleet import SERVER, ms_of
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.finding import Finding, broken

WORKERS: Final = (
    "inbox_reader",
    "summary_processor",
    "secret_merger",
    "gossip_initiator",
    "quiescence_detector",
    "convergence_detector",
    "outbox_writer",
)
"""The workers and ports of every robot."""

STANDSTILL_US: Final = 3_000_000
"""A robot that stands still for over two seconds is killed, so what is due in a life comes no later than this."""

FEWEST_SUMMARIES: Final = 5
_SETTLING_MS: Final = (ROBOTS_GRACE_US + CLOCKS_DIFFER_US + longest_us(MOST_RESTARTS)) // 1000
_ANSWER_MS: Final = 5_000

_Sign = WorkerStarted | WorkerCrashed | WorkerGaveUp | WorkerLeft


def signs_of_life(case: Case) -> Iterator[Finding]:
    """Findings on workers that should have lived, and showed nothing of it."""
    conversations = _Conversations(case)
    for life, events in case.testimony.items():
        if first_missing(events) is not None:
            continue
        yield from _never_restarted(life, events)
        yield from _missing_at_the_end(life, events)
        yield from _mute(case, life, events, conversations)


def _never_restarted(life: Life, events: list[Stamped]) -> Iterator[Finding]:
    """Restarts that were announced, and did not happen although the life went on."""
    for place, stamped in enumerate(events, start=1):
        restart = stamped.event
        if not isinstance(restart, WorkerRestarted):
            continue
        replies = (
            later for later in events[place:] if isinstance(later.event, _Sign) and later.event.worker == restart.worker
        )
        silent_us = lived_until_us(events, next(replies, None)) - stamped.monotonic_us - restart.delay_us
        if silent_us > STANDSTILL_US:
            yield broken(
                f"{restart.worker} of {life[0]}/{life[1]} was to be restarted after {restart.delay_us / 1e6:.2f} s, "
                f"and showed no sign of life for {silent_us / 1e6:.2f} s more",
                f"event {stamped.number} of {life[0]}/{life[1]}",
            )


def _missing_at_the_end(life: Life, events: list[Stamped]) -> Iterator[Finding]:
    """Workers that did not live when their life ended in order."""
    left = next((stamped for stamped in events if isinstance(stamped.event, RobotLeft)), None)
    if left is None or any(isinstance(stamped.event, WorkerGaveUp) for stamped in events):
        return
    there = {stamped.event.worker for stamped in events if isinstance(stamped.event, WorkerLeft)}
    crashed = {stamped.event.worker: stamped for stamped in events if isinstance(stamped.event, WorkerCrashed)}
    for worker in dict.fromkeys((*WORKERS, *crashed)):
        crash = crashed.get(worker)
        if worker in there or (crash is not None and _is_not_due(crash, events)):
            continue
        how = "and no crash of it was reported" if crash is None else "although it crashed and was to be restarted"
        yield broken(
            f"{worker} of {life[0]}/{life[1]} did not live when the life ended in order, {how}",
            f"event {(crash or left).number} of {life[0]}/{life[1]}",
        )


def _is_not_due(crash: Stamped, events: list[Stamped]) -> bool:
    """Whether the life ended before a worker had to live again after its last crash."""
    delays_us = [
        stamped.event.delay_us
        for stamped in events
        if isinstance(stamped.event, WorkerRestarted) and stamped.number > crash.number
    ]
    due_us = crash.monotonic_us + max(delays_us, default=0) + STANDSTILL_US
    return lived_until_us(events, None) < due_us


class _Conversations:
    """When summaries came to each robot undamaged, and when each life sent answers (server's clock, ms, in order)."""

    def __init__(self, case: Case) -> None:
        self._case = case

    @cached_property
    def asked_ms(self) -> dict[str, list[int]]:
        asked: dict[str, list[int]] = defaultdict(list)
        for (_, sent_ms, _), row in self._case.traffic.envelopes():
            if row.kind == "summary" and row.fate == "delivered" and row.deliveries and row.receiver is not None:
                asked[row.receiver].append(sent_ms + min(row.deliveries) // 1000)
        return {robot: sorted(times) for robot, times in asked.items()}

    @cached_property
    def answered_ms(self) -> dict[Life, list[int]]:
        answered: dict[Life, list[int]] = defaultdict(list)
        for (_, sent_ms, _), row in self._case.traffic.envelopes():
            if row.kind == "answer" and row.sender is not None and row.incarnation is not None:
                answered[row.sender, row.incarnation].append(sent_ms)
        return {life: sorted(times) for life, times in answered.items()}


def _mute(case: Case, life: Life, events: list[Stamped], conversations: _Conversations) -> Iterator[Finding]:
    """A life that went on for long after a crash, and answered nothing of what came."""
    end_ms = (events[-1].wall_us - CLOCKS_DIFFER_US) // 1000 if events else 0
    for stamped in events:
        if not isinstance(stamped.event, WorkerCrashed):
            continue
        start_ms = stamped.wall_us // 1000 + _SETTLING_MS
        asked = _between(conversations.asked_ms.get(life[0], []), start_ms, end_ms - _ANSWER_MS)
        answered = _between(conversations.answered_ms.get(life, []), start_ms, end_ms)
        if asked < FEWEST_SUMMARIES or answered or _was_disturbed(case, life, events, stamped.wall_us // 1000):
            continue
        yield broken(
            f"after {stamped.event.worker} of {life[0]}/{life[1]} had crashed, {asked} summaries came to it in "
            f"{(end_ms - start_ms) / 1000:.1f} s, and it answered none",
            f"event {stamped.number} of {life[0]}/{life[1]}",
        )


def _between(times: list[int], start: int, end: int) -> int:
    return max(0, bisect_right(times, end) - bisect_left(times, start))


def _was_disturbed(case: Case, life: Life, events: list[Stamped], since_ms: int) -> bool:
    """Whether anything but a dead worker may explain that the life sent no answers since then."""
    if any(isinstance(stamped.event, MessageDropped) for stamped in events):
        return True
    touched = {life[0], f"rq:{life[0]}", SERVER, f"relay:{case.shards.get(life[0])}"}
    return any(
        row.victim in touched and ms_of(row.id) >= since_ms - CLOCKS_DIFFER_US // 1000 for row in case.fleet.rows
    )
