"""The detector over a run's recorded events: the same rules, in the order and at the times in which things happened.

A source's time is the wall clock at its life's first event, and its own monotonic clock from there on. Events are to be
on one clock, as those of a history are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from telemetry.anomalies.detector import AnomalyDetector
from telemetry.events import AnomalyBegan, AnomalyEnded, Stamped

_STEP_US: Final = 50_000  # between two looks, when nothing happens


class FoundAnomaly(msgspec.Struct, frozen=True):
    """An anomaly in a record. Times are the history's microseconds; `ended_us` is None when it stood until the
    run was stopped."""

    rule: str
    about: str
    detail: str
    began_us: int
    ended_us: int | None = None


def anomalies_in(events: Iterable[Stamped], detector: AnomalyDetector) -> list[FoundAnomaly]:
    """What a new detector finds in a run's events, in the order in which it began. What was told when the events were
    recorded plays no part."""
    found: list[FoundAnomaly] = []
    standing: dict[tuple[str, str], int] = {}  # the place in `found`
    for at_us, news in _announced(events, detector):
        key = (news.rule, news.about)
        if isinstance(news, AnomalyBegan):
            standing[key] = len(found)
            found.append(FoundAnomaly(*key, news.detail, at_us))
        else:
            place = standing.pop(key)
            found[place] = msgspec.structs.replace(found[place], ended_us=at_us)
    return found


def _announced(
    events: Iterable[Stamped], detector: AnomalyDetector
) -> Iterator[tuple[int, AnomalyBegan | AnomalyEnded]]:
    now_us: int | None = None
    for at_us, stamped in _in_time(events):
        if now_us is None:
            now_us = at_us
        for step_us in _steps(now_us, at_us, detector.settled_us):
            detector.advance(step_us)
            for news in detector.announcements():
                yield step_us, news
        now_us = at_us
        detector.observe(stamped, now_us)
        for news in detector.announcements():
            yield now_us, news


def _steps(since_us: int, until_us: int, settled_us: int) -> Iterator[int]:
    """When to look at a run in which nothing happens. The rest of a long gap, after which all is settled, is one step:
    it may be as long as one wrong clock makes it."""
    yield from range(since_us + _STEP_US, min(until_us, since_us + settled_us), _STEP_US)
    if since_us < until_us:
        yield until_us


def _in_time(events: Iterable[Stamped]) -> list[tuple[int, Stamped]]:
    """The events in the order in which they happened, without anomalies, each with its time."""
    begins: dict[tuple[str, int], int] = {}  # of each life: the wall clock minus the monotonic one
    timed = []
    for stamped in events:
        if not isinstance(stamped.event, AnomalyBegan | AnomalyEnded):
            ahead_us = begins.setdefault((stamped.source, stamped.incarnation), stamped.wall_us - stamped.monotonic_us)
            timed.append((stamped.monotonic_us + ahead_us, stamped))
    return sorted(timed, key=lambda pair: pair[0])
