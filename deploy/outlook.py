"""The plan of a live run as a person looks at it: what is in force and since when, and what is dated to come.

What is to come is what a conductor of the same plan would do who got the same requests: a copy of it is asked, in this
process; the run does not notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from typing import Final

import msgspec

from broker.control_entries import Met, Planned
from broker.faults.grammar import Heal
from broker.faults.schedule import Timed
from broker.faults.scheduler import Conductor
from broker.streams.run.plan_log import DEALT_MS
from deploy.asking import LivePlan
from deploy.conducted import BEFORE_GO_US, conductor_so_far

MOST_TO_COME: Final = 16  # changes that are looked at: what comes again every 10 ms would fill a screen


class Standing(msgspec.Struct, frozen=True):
    """A fault in force. `since_us` counts from go (negative: before it), None means since the deal. `relays` are those
    that it holds at: not all only while a change is on its way."""

    instance: int
    text: str
    since_us: int | None
    relays: tuple[int, ...]


class Coming(msgspec.Struct, frozen=True):
    """A dated change of the plan, `at_us` after go: the faults that begin then, and those that end."""

    at_us: int
    begin: tuple[Planned, ...]
    end: tuple[Planned, ...]


class Later(msgspec.Struct, frozen=True):
    """A fault that has not begun yet, and how long it is until then; before go, from go on."""

    planned: Planned
    in_us: int


class Outlook(msgspec.Struct, frozen=True):
    """The whole picture. `now_us` counts from go, None when that is still to come; `stop` is why the run is ending, if
    it is; `to_come` holds the next MOST_TO_COME dated changes, and is None when the run's settings cannot be read here,
    because another host has them."""

    run: str
    now_us: int | None
    shards: int
    stop: str | None
    standing: list[Standing]
    to_come: list[Coming] | None


def outlook(plan: LivePlan) -> Outlook:
    """What there is to see of `plan`."""
    course = plan.course
    to_come: list[Coming] | None = []
    if course.stop is None:
        conductor = _conductor(plan)
        to_come = None if conductor is None else list(islice(_coming(conductor, _conducted(plan.now_us)), MOST_TO_COME))
    return Outlook(plan.run, plan.now_us, course.shards, course.stop, _standing(plan), to_come)


def remaining(plan: LivePlan) -> list[Timed] | None:
    """What is in force and what is dated to come, healing too; None when the run's settings cannot be read here."""
    conductor = _conductor(plan)
    return None if conductor is None else conductor.remaining(_conducted(plan.now_us))


def still_to_come(plan: LivePlan) -> list[Later] | None:
    """The faults that have not begun yet, the next one first; None when the run's settings cannot be read here."""
    left = remaining(plan)
    if left is None:
        return None
    now_us = _conducted(plan.now_us)
    later = []
    for dated in left:
        fault, start_us = dated.line.fault, dated.line.when.start_us
        if start_us is not None and start_us > now_us and not isinstance(fault, Heal):
            later.append(Later(Planned(dated.instance, fault.text()), start_us - max(0, now_us)))
    return sorted(later, key=lambda dated: dated.in_us)


def _standing(plan: LivePlan) -> list[Standing]:
    """The faults in force at any relay, by number."""
    since: dict[Planned, list[int]] = {}
    relays: dict[Planned, list[int]] = {}
    for shard, history in enumerate(plan.history):
        for planned in history[-1].change.faults if history else ():
            since.setdefault(planned, []).append(_since_ms(planned, history))
            relays.setdefault(planned, []).append(shard)
    return [
        Standing(planned.instance, planned.text, _after_go_us(plan, min(since[planned])), tuple(relays[planned]))
        for planned in sorted(since, key=lambda planned: planned.instance)
    ]


def _since_ms(planned: Planned, history: Sequence[Met]) -> int:
    """Since when a fault has been in force without a break, at one relay."""
    return min(met.at_ms for met in takewhile(lambda met: planned in met.change.faults, reversed(history)))


def _after_go_us(plan: LivePlan, at_ms: int) -> int | None:
    """When a change was met; None for what was dealt, negative for what came between the deal and go."""
    if at_ms == DEALT_MS:
        return None
    after_go_us = plan.after_go_us(at_ms)
    return BEFORE_GO_US if after_go_us is None else after_go_us


def _conducted(after_go_us: int | None) -> int:
    """A time as a conductor is told it: before go it is always the same."""
    return BEFORE_GO_US if after_go_us is None else max(after_go_us, BEFORE_GO_US)


def _conductor(plan: LivePlan) -> Conductor | None:
    """One that got the same requests as the run's own; None when the settings cannot be read here."""
    settings = plan.settings
    if settings is None:
        return None
    try:
        dated = settings.timed()
    except ValueError:
        return None
    met = max(plan.history, key=len, default=[])
    return conductor_so_far(dated, settings.for_us, met, plan.course.go_ms)


def _coming(conductor: Conductor, now_us: int) -> Iterator[Coming]:
    """The dated changes after `now_us`."""
    faults = conductor.in_force(now_us)
    at_us = conductor.next_change_us(now_us)
    while at_us is not None:
        old, faults = faults, conductor.in_force(at_us)
        begin = tuple(planned for planned in faults if planned not in old)
        end = tuple(planned for planned in old if planned not in faults)
        if begin or end:
            yield Coming(at_us, begin, end)
        at_us = conductor.next_change_us(at_us)
