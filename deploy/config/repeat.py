"""A recorded run as the beginning of another one: its settings, its plan, its secret. Reads records, starts nothing.

Its plan is what it was given, line for line. Once people changed that by hand, it is what was then in force: every
change stands in the record with its place in time. So does every deed, with the victim that was drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from broker.faults.grammar import Line, When, parse_fault, parse_line
from broker.faults.process_faults import Pause, Resume
from broker.faults.schedule import Timed
from broker.faults.syntax import PlanSyntaxError, format_duration
from deploy.errors import Unrepeatable
from telemetry.record.folder import find_run
from telemetry.verdict.case import Case, load
from telemetry.verdict.evidence.schema import InjectionRow, PlanRow
from telemetry.verdict.finding import EvidenceError

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Instance = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class Given(msgspec.Struct, frozen=True):
    """What settings.json says that the run was given."""

    robots: Whole
    copies: Whole
    seed: Whole
    tick_us: Whole
    quiet_period_us: Whole
    for_us: Whole
    limit_us: Whole
    shards: Whole
    plan: tuple[str, ...]
    instances: tuple[Instance, ...]


def recorded_name(runs: Path, run: str) -> str:
    """The name by which a recorded run will still be known when `latest` is another one. Raises NoSuchRun."""
    folder = find_run(runs, run)
    return folder.name if folder.parent == runs.resolve() else str(folder)


def recorded_settings(runs: Path, run: str) -> Mapping[str, str]:
    """The settings of a recorded run as a person would write them, by field name; whether they are allowed is still to
    be checked. Raises NoSuchRun, Unrepeatable."""
    given = _given(find_run(runs, run))
    return {
        "robots": str(given.robots),
        "copies": str(given.copies),
        "seed": str(given.seed),
        "tick": format_duration(given.tick_us),
        "quiet_period": format_duration(given.quiet_period_us),
        "for_": format_duration(given.for_us),
        "limit": format_duration(given.limit_us),
        "relays": str(given.shards),
    }


def recorded_plan(runs: Path, run: str) -> list[Timed]:
    """The plan of a recorded run, with the dice that each fault had. Raises NoSuchRun, Unrepeatable."""
    folder = find_run(runs, run)
    given, case = _given(folder), load(folder)
    try:
        if _was_changed(case):
            return _as_it_went(_changes(case, given.limit_us), _injections(case))
    except EvidenceError as error:
        raise Unrepeatable(f"the plan of run {run} is not known: {error}") from None
    return _as_given(given)


def _was_changed(case: Case) -> bool:
    """Whether a person changed the plan by hand. Raises EvidenceError."""
    requests = [row.request for row in case.plan if isinstance(row, PlanRow)]
    return any(requests) or any(not row.refusal for row in case.fleet.acknowledgements)


def _given(folder: Path) -> Given:
    try:
        return msgspec.json.decode((folder / "settings.json").read_bytes(), type=Given)
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise Unrepeatable(f"the record of run {folder.name} has no settings that can be read: {error}") from None


def _as_given(given: Given) -> list[Timed]:
    """The lines, unchanged. Raises Unrepeatable."""
    if len(given.plan) != len(given.instances):
        raise Unrepeatable(f"the record's plan has {len(given.plan)} lines, but {len(given.instances)} instances")
    try:
        return [Timed(instance, parse_line(text)) for instance, text in zip(given.instances, given.plan, strict=True)]
    except PlanSyntaxError as error:
        raise _unknown(error) from None


def _as_it_went(changes: Iterable[tuple[int, dict[int, str]]], injections: Iterable[Line]) -> list[Timed]:
    """Every fault that was in force, from when to when since `go`: a line for each time that it came; then
    `injections`.

    Times are the server's milliseconds of its first outbox: all outboxes get the same changes. What was in force when
    the run began is dated 0. Raises Unrepeatable.
    """
    begun: dict[int, tuple[int, str]] = {}
    plan: list[Timed] = []
    for at_us, faults in [*changes, (None, dict[int, str]())]:
        ended = [instance for instance, (_, text) in begun.items() if faults.get(instance) != text]
        plan += [_timed(instance, *begun.pop(instance), at_us) for instance in ended]
        begun |= {instance: (at_us or 0, text) for instance, text in faults.items() if instance not in begun}
    plan.sort(key=lambda planned: (planned.instance, planned.line.when.start_us or 0))
    first_free = max((planned.instance for planned in plan), default=-1) + 1
    return plan + [Timed(instance, line) for instance, line in enumerate(injections, start=first_free)]


def recorded_secret(runs: Path, run: str, *guesses: bytes) -> bytes:
    """The secret of a recorded run: what was written, or the one of `guesses` that was dealt.
    Raises NoSuchRun, Unrepeatable."""
    case = load(find_run(runs, run))
    try:
        dealt = case.deal.sha256
    except EvidenceError as error:
        raise Unrepeatable(f"the secret of run {run} is not known: {error}") from None
    for secret in (case.secret, *guesses):
        if secret is not None and hashlib.sha256(secret).hexdigest() == dealt:
            return secret
    raise Unrepeatable(f"run {run} did not write its secret; give the same with --secret or --secret-file")


def _changes(case: Case, limit_us: int) -> list[tuple[int, dict[int, str]]]:
    """What was in force, by instance, from microseconds since `go` on. The end's healing, which may have been stored
    more than once, is none of the plan's. Raises EvidenceError."""
    go_ms, stop_ms = case.order_ms("go"), case.order_ms("stop")
    if go_ms is None:
        raise EvidenceError("it was never started")
    rows = [row for row in case.plan if isinstance(row, PlanRow) and row.shard == 0]
    while rows and stop_ms is not None and not rows[-1].faults and _ms(rows[-1]) >= stop_ms:
        rows.pop()
    changes: list[tuple[int, dict[int, str]]] = []
    for row in rows:
        at_us = min(max(0, _ms(row) - go_ms) * 1000, limit_us)  # the server's clock is not the limit's
        if changes and changes[-1][0] == at_us:
            changes.pop()  # it lasted for no time at all
        changes.append((at_us, {planned.instance: planned.fault for planned in row.faults}))
    return changes


def _injections(case: Case) -> Iterator[Line]:
    """What was done to processes. A pause lasted until it was ended, by its time or before it; one that nobody ended
    lasted to the end. Raises Unrepeatable."""
    rows = case.fleet.injections
    go_ms = case.order_ms("go") or 0
    for place, row in enumerate(rows):
        if row.verb == Resume.name:
            continue
        text = f"{row.verb} {row.victim} @{max(0, _ms(row) - go_ms)}ms"
        if row.verb == Pause.name:
            end = next(
                (later for later in rows[place:] if (later.verb, later.victim) == (Resume.name, row.victim)), None
            )
            text += f"+{max(1, (case.end_ms if end is None else _ms(end)) - _ms(row))}ms"
        yield _line(text)


def _line(text: str) -> Line:
    try:
        return parse_line(text)
    except PlanSyntaxError as error:
        raise Unrepeatable(f"the record tells of an injection that is unknown here: {error}") from None


def _ms(row: PlanRow | InjectionRow) -> int:
    return int(row.id.partition("-")[0])


def _timed(instance: int, begin_us: int, text: str, end_us: int | None) -> Timed:
    """A fault that was in force from `begin_us` to `end_us`; None is to the end. Raises Unrepeatable."""
    try:
        fault = parse_fault(text)
    except PlanSyntaxError as error:
        raise _unknown(error) from None
    if end_us is None:
        return Timed(instance, Line(fault, When(begin_us or None)))
    return Timed(instance, Line(fault, When(begin_us, end_us - begin_us)))


def _unknown(error: PlanSyntaxError) -> Unrepeatable:
    return Unrepeatable(f"the record's plan holds a fault that is unknown here: {error}")
