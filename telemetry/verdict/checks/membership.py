"""Membership: settings, deal, plan, journals and births must name the same robots and lives.

Where they differ, part of the evidence is missing: that makes a promise UNPROVEN, never BROKEN.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.verdict.case import Case
from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.evidence.schema import BornRow
from telemetry.verdict.finding import Finding, unproven
from telemetry.verdict.recomputed.fault_rules import number_of


def missing_evidence(case: Case) -> Iterator[Finding]:
    """A doubt for each robot or life that one file names, and another does not."""
    yield from _journals(case)
    yield from _joiners(case)
    yield from _strangers(case)
    yield from _births(case)


def births_not_in_outboxes(case: Case) -> Iterator[Finding]:
    """A doubt for each life that sent something, and whose birth is not in its outbox."""
    announced: set[Life] = {(robot, birth.life) for robot, births in case.births.items() for birth in births.all}
    for robot, life in sorted(case.traffic.last_sent_ms.keys() - announced):
        yield unproven(f"{robot}/{life} sent something, and its birth is not in its outbox")


def _journals(case: Case) -> Iterator[Finding]:
    for robot in case.dealt_robots:
        if robot not in case.journals:
            yield unproven(f"the journal of {robot} is not in the record")
    for journal in case.journals.values():
        if journal.lost:
            yield unproven(f"the journal of {journal.robot} was lost")


def _joiners(case: Case) -> Iterator[Finding]:
    """A robot that joined has an order, and a journal whose header says so."""
    came = {robot for robot, journal in case.journals.items() if journal.joined}
    if "streams" in case.damage:
        for robot in sorted(came):
            yield unproven(
                f"the journal of {robot} says that it joined, and no order shows it: {case.damage['streams']}"
            )
        return
    for robot in sorted(case.joined_by_order):
        journal = case.journals.get(robot)
        if number_of(robot) is None:
            yield unproven(f"an order says that {robot!r} joined, which is no robot's name")
        elif robot in case.dealt_robots:
            yield unproven(f"an order says that {robot} joined, and it was there from the beginning")
        elif journal is None:
            yield unproven(f"an order says that {robot} joined, and its journal is not in the record")
        elif not journal.joined and not journal.lost:
            yield unproven(f"an order says that {robot} joined, and its journal says that it was dealt")
    for robot in sorted(came - case.joined_by_order):
        yield unproven(f"the journal of {robot} says that it joined, and no order does")


def _strangers(case: Case) -> Iterator[Finding]:
    """Robots that neither began with the run nor joined it."""
    dealt, known = set(case.dealt_robots), set(case.members)
    holders = {robot for part in case.deal.indices for robot in part.holders}
    for what, robots in (
        ("was dealt parts", holders - dealt),
        ("has a journal", case.journals.keys() - known),
        ("has a birth stream", case.register.births.keys() - known),
    ):
        for robot in sorted(robots):
            yield unproven(f"{robot} {what}, and is none of the {len(dealt)} robots that settings.json counts")


def _births(case: Case) -> Iterator[Finding]:
    """A life is born in its journal first, then in its birth stream, then in its outbox."""
    for robot in sorted({*case.dealt_robots, *case.journals} - case.register.births.keys()):
        yield unproven(f"the birth stream of {robot} is not in the record")
    streamed: set[Life] = {
        (robot, int(row.id.partition("-")[0]))
        for robot, rows in case.register.births.items()
        for row in rows
        if row.entry == "born"
    }
    announced = {(control.robot, control.incarnation) for control in case.plan if isinstance(control, BornRow)}
    journalled = {(robot, life) for robot, journal in case.journals.items() for life in journal.lives}
    for robot, life in sorted(announced - streamed):
        yield unproven(f"the birth of {robot}/{life} is not in its birth stream")
    for robot, life in sorted(streamed - journalled):
        yield unproven(f"the birth of {robot}/{life} is not in its journal")
