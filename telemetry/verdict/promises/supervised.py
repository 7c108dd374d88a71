"""Supervised: every crash was followed by a restart within the policy. Judged by deaths, births and injections.

The rules for robots stand in supervised_robots.py, those for workers in supervised_workers.py, and what shows that a
worker lives in supervised_signs.py; events can only convict.
After a relay's death, a later entry of its shard has a fate, or an event reports a later relay; else this is UNPROVEN.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.events import WorkerCrashed
from telemetry.verdict.case import Case
from telemetry.verdict.checks.membership import births_not_in_outboxes
from telemetry.verdict.checks.restart_policy import MOST_RESTARTS, ROBOTS_GRACE_US, longest_us
from telemetry.verdict.checks.witnesses import gaps
from telemetry.verdict.evidence.fleet import Downtime
from telemetry.verdict.finding import Finding, broken, held, unproven, worst
from telemetry.verdict.promises.supervised_robots import missing_lives, requeued_robots, robot_restarts, was_waiting
from telemetry.verdict.promises.supervised_signs import signs_of_life
from telemetry.verdict.promises.supervised_workers import unnoticed_injections, worker_restarts


def supervised(case: Case) -> Finding:
    """Every crash was followed by a restart within the policy, and none took a sibling down."""

    def findings() -> Iterator[Finding]:
        yield from robot_restarts(case)
        yield from worker_restarts(case)
        yield from unnoticed_injections(case)
        yield from signs_of_life(case)
        yield from _relays(case)
        yield from requeued_robots(case)
        yield from missing_lives(case)
        yield from gaps(case)
        yield from births_not_in_outboxes(case)
        yield from _joined_a_closed_run(case)

    return worst(findings(), otherwise=_held(case))


def _held(case: Case) -> Finding:
    deaths = sum(len(downtime.deaths) for downtime in case.downtimes)
    crashes = sum(isinstance(stamped.event, WorkerCrashed) for events in case.testimony.values() for stamped in events)
    if not deaths and not crashes:
        return held("no death of a robot, and no crash of a worker", 0)
    unfinished = sorted({downtime.robot for downtime in case.downtimes if downtime.birth is None} - case.given_up)
    text = f"deaths of robots: {deaths}, crashes of workers: {crashes}; restarts followed within the policy"
    text += f"; the run ended before these could be restarted: {', '.join(unfinished)}" * bool(unfinished)
    resigned = sorted({downtime.robot for downtime in case.downtimes} & case.given_up)
    waited = sorted({downtime.robot for downtime in case.downtimes if was_waiting(case, downtime)})
    text += f"; gave up, as the policy says: {', '.join(resigned)}" * bool(resigned)
    text += f"; waited for an RQ worker: {', '.join(waited)}" * bool(waited)
    unled_ms = max((case.fleet.gap_ms(*_away(case, downtime)) for downtime in case.downtimes), default=0)
    text += f"; no supervisor led for up to {unled_ms / 1000:.1f} s of that" * bool(unled_ms)
    return held(text, deaths + crashes)


def _joined_a_closed_run(case: Case) -> Iterator[Finding]:
    """A robot was let in by a supervisor when both the order and the journal say so; any client may write an order."""
    came = {robot for robot, journal in case.journals.items() if journal.joined}
    if case.settings.closed and "streams" not in case.damage:
        for robot in sorted(came & case.joined_by_order):
            yield broken(f"{robot} joined the run, which was dealt as closed", f"order joined {robot}")


def _away(case: Case, downtime: Downtime) -> tuple[int, int]:
    """From when to when a robot was away (server's clock, ms)."""
    return downtime.deaths[0].at_ms, case.end_ms if downtime.birth is None else downtime.birth.at_ms


def _relays(case: Case) -> Iterator[Finding]:
    for shard in sorted(case.abandoned_shards & case.fleet.relay_deaths_ms.keys()):
        died_ms = case.fleet.relay_deaths_ms[shard]
        if case.fleet.away_ms(died_ms, case.end_ms) * 1000 > ROBOTS_GRACE_US + longest_us(MOST_RESTARTS):
            yield unproven(f"the relay of shard {shard} died, and nothing shows that another one took its place")
