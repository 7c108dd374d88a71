"""Supervised, for workers: each was restarted within the policy, by the supervisor in its robot.

After a crash that a life reports, the life reports within the policy's delay (checks/restart_policy.py) and 1 s that
the same worker is restarted or given up, unless it ended before. A time in which its process stood still, right before
that report, does not count. A report of a restart counts the charged crashes within 30 s as the life's own events do,
and its delay is the policy's for that count; the worker reports that it runs again no sooner. No worker is restarted
when more than 5 crashed within 30 s, and none is given up before. A life does not end by itself within 1 s after a
crash without giving up. Injected crashes are not charged and are delayed as a first one; a life that goes on for 6 s
reports them, unless the worker had just crashed anyway.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Final

from telemetry.events import Stamped, WorkerCrashed, WorkerGaveUp, WorkerRestarted, WorkerStarted
from telemetry.verdict.case import Case
from telemetry.verdict.checks.restart_policy import (
    MOST_RESTARTS,
    WINDOW_US,
    WORKERS_GRACE_US,
    longest_us,
    recent,
    shortest_us,
)
from telemetry.verdict.checks.witnesses import CLOCKS_DIFFER_US, first_missing, lived_until_us
from telemetry.verdict.evidence.births import Births
from telemetry.verdict.evidence.fleet import ms_of
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.finding import Finding, broken

INJECTION_DELAY_US: Final = 5_000_000
"""The longest time for an injected crash to reach its worker: it travels as an order."""

_FUZZ_US: Final = 100_000  # between a supervisor's reading of its clock and the stamp of its event
_EARLY_US: Final = 5_000  # a timer of an event loop counts whole milliseconds, and may be early by some
_INJECTED: Final = "InjectedCrash"

_Report = WorkerCrashed | WorkerRestarted | WorkerGaveUp


def worker_restarts(case: Case) -> Iterator[Finding]:
    """Findings on the restarts that lives reported after crashes of their workers."""
    for life, events in case.testimony.items():
        reports = [each for each in events if isinstance(each.event, _Report)]
        if reports:
            yield from _without_restart(life, reports, events)
            yield from _against_policy(life, reports, is_whole=first_missing(events) is None)
            yield from _too_soon(life, events)
            yield from _took_siblings_down(case, life, reports, events[-1])


def unnoticed_injections(case: Case) -> Iterator[Finding]:
    """Injected crashes that the life did not report, although it went on."""
    crashes_us = _crashes_us(case)

    @cache
    def is_whole(life: Life) -> bool:
        return first_missing(case.testimony[life]) is None

    for injection in case.fleet.injections:
        robot, _, worker = injection.victim.partition("/")
        if not worker or injection.verb != "crash" or (injection.verb, injection.target) in case.failed_injections:
            continue
        due_us = ms_of(injection.id) * 1000
        birth = case.births.get(robot, Births()).latest_by((due_us - CLOCKS_DIFFER_US) // 1000)
        life = (robot, birth.life if birth else 0)
        events = case.testimony.get(life) or []
        end_us = due_us + INJECTION_DELAY_US + CLOCKS_DIFFER_US
        if not events or events[-1].wall_us < end_us or not is_whole(life):
            continue
        noticed_us = crashes_us.get((life, worker), [])
        place = bisect_left(noticed_us, due_us - CLOCKS_DIFFER_US - longest_us(MOST_RESTARTS))
        if place == len(noticed_us) or noticed_us[place] > end_us:
            yield broken(
                f"{injection.victim} was made to crash, and {life[0]}/{life[1]} did not notice",
                f"injection {injection.id}",
            )


def _crashes_us(case: Case) -> dict[tuple[Life, str], list[int]]:
    """When each worker crashed, by life (its own wall clock), in order."""
    crashes: dict[tuple[Life, str], list[int]] = defaultdict(list)
    for life, events in case.testimony.items():
        for stamped in events:
            if isinstance(stamped.event, WorkerCrashed):
                crashes[life, stamped.event.worker].append(stamped.wall_us)
    return {place: sorted(times_us) for place, times_us in crashes.items()}


def _without_restart(life: Life, reports: list[Stamped], events: list[Stamped]) -> Iterator[Finding]:
    """Crashes after which the life went on, and reported neither restart nor giving up."""
    crashes_us = _charged_us(reports)
    for place, stamped in enumerate(reports, start=1):
        if not isinstance(stamped.event, WorkerCrashed):
            continue
        allowed_us = longest_us(recent(crashes_us, stamped.monotonic_us)) + WORKERS_GRACE_US
        replies = (
            later
            for later in (reports[other] for other in range(place, len(reports)))
            if isinstance(later.event, WorkerRestarted | WorkerGaveUp) and later.event.worker == stamped.event.worker
        )
        went_on_us = lived_until_us(events, next(replies, None)) - stamped.monotonic_us
        if went_on_us > allowed_us:
            yield broken(
                f"{_who(life, stamped.event.worker)} crashed, and was not restarted in {went_on_us / 1e6:.2f} s",
                _place(life, stamped),
            )


def _against_policy(life: Life, reports: list[Stamped], is_whole: bool) -> Iterator[Finding]:
    """Restarts and givings-up against the policy. `is_whole`: the life's events are all there."""
    crashes_us: list[int] = []  # those that are charged, so far
    injected: dict[str, bool] = {}  # whether a worker's last crash was
    for stamped in reports:
        at_us = stamped.monotonic_us
        fewest, most = (recent(crashes_us, at_us, WINDOW_US + fuzz_us) for fuzz_us in (-_FUZZ_US, _FUZZ_US))
        match stamped.event:
            case WorkerCrashed(worker):
                injected[worker] = _is_injected(stamped.event)
                crashes_us += [at_us] * (not injected[worker])
            case WorkerRestarted(worker, number, delay_us):
                why = _not_allowed(number, delay_us, bool(injected.get(worker)), fewest, most if is_whole else None)
                if why:
                    yield broken(f"{_who(life, worker)} was restarted {why}", _place(life, stamped))
            case WorkerGaveUp(worker) if is_whole and most <= MOST_RESTARTS:
                why = f"was given up although only {most} crashes lie within 30 s"
                yield broken(f"{_who(life, worker)} {why}", _place(life, stamped))


def _not_allowed(number: int, delay_us: int, is_injected: bool, fewest: int, most: int | None) -> str:
    """What the policy forbids about a restart that calls itself the `number`-th; empty when nothing. At least `fewest`
    charged crashes lie within its window, and no more than `most`; None: no one knows."""
    if max(fewest, number) > MOST_RESTARTS:
        return f"although {max(fewest, number)} crashes lie within 30 s"
    if number < fewest or (most is not None and number > most):
        return f"as after crash {number} within 30 s, but it was crash {fewest if number < fewest else most}"
    nth = 1 if is_injected else number
    if not shortest_us(nth) <= delay_us <= longest_us(nth):
        return f"after {delay_us} us, as the {nth}. within 30 s"
    return ""


def _too_soon(life: Life, events: list[Stamped]) -> Iterator[Finding]:
    """Workers that ran again before their delay was over."""
    restarts: dict[str, Stamped] = {}
    for stamped in events:
        match stamped.event:
            case WorkerRestarted(worker):
                restarts[worker] = stamped
            case WorkerStarted(worker) if (restart := restarts.pop(worker, None)) is not None:
                delay_us = restart.event.delay_us  # type: ignore[union-attr]  # only restarts are kept
                had_us = stamped.monotonic_us - restart.monotonic_us
                if had_us < delay_us - _EARLY_US:
                    why = f"was to be restarted after {delay_us / 1000:.0f} ms, and ran again after {had_us / 1000:.0f}"
                    yield broken(f"{_who(life, worker)} {why} ms", _place(life, stamped))


def _took_siblings_down(case: Case, life: Life, reports: list[Stamped], last: Stamped) -> Iterator[Finding]:
    """A life that ended by itself just after a worker's crash that was within the policy."""
    crashes = [stamped for stamped in reports if isinstance(stamped.event, WorkerCrashed)]
    if not crashes or any(isinstance(stamped.event, WorkerGaveUp) for stamped in reports):
        return
    crash = crashes[-1]
    if last.monotonic_us - crash.monotonic_us > WORKERS_GRACE_US:
        return
    for death in case.fleet.deaths_of_lives.get(life, ()):
        is_its_own = death.how == "exit" and death.is_charged
        if is_its_own and abs(death.at_ms * 1000 - last.wall_us) <= CLOCKS_DIFFER_US:
            yield broken(f"a crash of {crash.event.worker} took {life[0]}/{life[1]} down with it", _place(life, crash))  # type: ignore[union-attr]


def _charged_us(reports: list[Stamped]) -> list[int]:
    """When workers of a life crashed by themselves (its own clock), in order."""
    return sorted(
        stamped.monotonic_us
        for stamped in reports
        if isinstance(stamped.event, WorkerCrashed) and not _is_injected(stamped.event)
    )


def _is_injected(crash: WorkerCrashed) -> bool:
    return crash.error.startswith(_INJECTED)


def _who(life: Life, worker: str) -> str:
    return f"{worker} of {life[0]}/{life[1]}"


def _place(life: Life, stamped: Stamped) -> str:
    return f"event {stamped.number} of {life[0]}/{life[1]}"
