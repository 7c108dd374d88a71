"""Supervised, by signs of life: a supervisor's report of a restart proves nothing, what workers do themselves does.

* A life that goes on after a crash of any of its workers answers summaries. If five or more came undamaged, each 6 s or
  more after the crash's longest delay and 5 s before the end, and neither a fate nor the life itself shows an answer in
  all that time, its inbox reader, summary processor or outbox writer is gone. A fate says when a copy is due, not that
  it came: it certainly did when an envelope came to any robot that was sent through the same outbox after that, because
  a relay keeps the order. No summary counts of an outbox whose relay was touched meanwhile, and no life is judged that
  was paused, reported envelopes dropped or trimmed, or whose own relay or server was touched.
* A worker that runs again reports so itself, in its first step. 3 s after its delay it must have.
* A worker that lives when its life ends in order reports that, too. One that does not was gone, unless its life ended
  less than 3 s after it was to be restarted.

A life whose events are not all there shows nothing here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Container, Iterator
from functools import cached_property
from itertools import accumulate
from typing import Final

from telemetry.events import (
    InboxOverflowed,
    MessageDropped,
    MessageReceived,
    MessageSent,
    MessageTrimmed,
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
    """Which summaries certainly came to each robot undamaged, and when each life sent answers (server's clock, ms)."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def asked(self, robot: str, start_ms: int, end_ms: int, disturbed: Container[int]) -> int:
        """How many summaries came to it in that time, without those of the `disturbed` shards."""
        return sum(
            _between(times, start_ms, min(end_ms, self._passed_ms(shard, end_ms)))
            for shard, times in self._due_ms.get(robot, {}).items()
            if shard not in disturbed
        )

    @cached_property
    def answered_ms(self) -> dict[Life, list[int]]:
        answered: dict[Life, list[int]] = defaultdict(list)
        for (_, sent_ms, _), row in self._case.traffic.envelopes():
            if row.kind == "answer" and row.sender is not None and row.incarnation is not None:
                answered[row.sender, row.incarnation].append(sent_ms)
        return {life: sorted(times) for life, times in answered.items()}

    @cached_property
    def _due_ms(self) -> dict[str, dict[int, list[int]]]:
        """When the summaries to each robot were due, by shard of the sender, in order."""
        due: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for (shard, sent_ms, _), row in self._case.traffic.envelopes():
            if row.kind == "summary" and row.fate == "delivered" and row.deliveries and row.receiver is not None:
                due[row.receiver][shard].append(sent_ms + min(row.deliveries) // 1000)
        return {robot: {shard: sorted(times) for shard, times in of.items()} for robot, of in due.items()}

    @cached_property
    def _passages_ms(self) -> dict[int, tuple[list[int], list[int]]]:
        """By shard, when copies that robots report were put into inboxes, in order, and up to each of these the latest
        time at which one had been sent."""
        passages: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for stamped in self._case.events:
            event = stamped.event
            if isinstance(event, MessageReceived):
                address = event.sender, event.sender_incarnation, stamped.source, event.sequence
                sent_ms, shard = self._case.traffic.sent_ms.get(address), self._case.shards.get(event.sender)
                if sent_ms is not None and shard is not None:
                    passages[shard].append((ms_of(event.entry), sent_ms))
        ordered = {shard: sorted(pairs) for shard, pairs in passages.items()}
        return {
            shard: ([put_ms for put_ms, _ in pairs], list(accumulate((sent_ms for _, sent_ms in pairs), max)))
            for shard, pairs in ordered.items()
        }

    def _passed_ms(self, shard: int, by_ms: int) -> int:
        """What was due up to then in that shard had certainly come by `by_ms`."""
        put_ms, latest_ms = self._passages_ms.get(shard, ([], []))
        place = bisect_right(put_ms, by_ms)
        return latest_ms[place - 1] if place else 0


def _mute(case: Case, life: Life, events: list[Stamped], conversations: _Conversations) -> Iterator[Finding]:
    """A life that went on for long after a crash, and answered nothing of what came."""
    end_ms = (events[-1].wall_us - CLOCKS_DIFFER_US) // 1000 if events else 0
    for stamped in events:
        if not isinstance(stamped.event, WorkerCrashed):
            continue
        start_ms = stamped.wall_us // 1000 + _SETTLING_MS
        if _between(conversations.answered_ms.get(life, []), start_ms, end_ms) or _reports_answers(events, stamped):
            continue
        touched = _touched(case, stamped.wall_us // 1000)
        disturbed = {shard for shard in case.shards.values() if f"relay:{shard}" in touched}
        asked = conversations.asked(life[0], start_ms, end_ms - _ANSWER_MS, disturbed)
        if asked < FEWEST_SUMMARIES or _was_disturbed(case, life, events, touched):
            continue
        yield broken(
            f"after {stamped.event.worker} of {life[0]}/{life[1]} had crashed, {asked} summaries came to it in "
            f"{(end_ms - start_ms) / 1000:.1f} s, and it answered none",
            f"event {stamped.number} of {life[0]}/{life[1]}",
        )


def _between(times: list[int], start: int, end: int) -> int:
    return max(0, bisect_right(times, end) - bisect_left(times, start))


def _reports_answers(events: list[Stamped], crash: Stamped) -> bool:
    """Whether the life reports an answer after the crash and its delay. Its relay may not have decided it: it lags, or
    a partition holds it."""
    since_us = crash.monotonic_us + longest_us(MOST_RESTARTS)
    sent = (each for each in events if isinstance(each.event, MessageSent) and each.event.kind == "answer")
    return any(each.monotonic_us >= since_us for each in sent)


def _touched(case: Case, since_ms: int) -> set[str]:
    """The processes that injections and deaths since then concern."""
    return {row.victim for row in case.fleet.rows if ms_of(row.id) >= since_ms - CLOCKS_DIFFER_US // 1000}


def _was_disturbed(case: Case, life: Life, events: list[Stamped], touched: set[str]) -> bool:
    """Whether anything but a dead worker may explain that the life sent no answers."""
    if any(isinstance(stamped.event, MessageDropped | MessageTrimmed | InboxOverflowed) for stamped in events):
        return True
    return not touched.isdisjoint({life[0], f"rq:{life[0]}", SERVER, f"relay:{case.shards.get(life[0])}"})
