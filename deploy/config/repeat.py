"""`--again`: the settings, the plan and the secret of a recorded run, for a run that repeats it. Reads records, starts
nothing.

The plan is the recorded one, line for line. When a person changed it during the run, the plan is what was in force,
each fault from when to when, and every injection with the victim that was drawn, but for supervisors: `robots run` has
one only, and no other could follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from pathlib import Path

from broker.faults.grammar import Line, When, parse_fault, parse_line
from broker.faults.process_faults import Pause, Resume
from broker.faults.schedule import Timed
from broker.faults.syntax import PlanSyntaxError, format_duration
from deploy.errors import Unrepeatable
from telemetry.anomalies.thresholds import format_thresholds
from telemetry.record.folder import find_run
from telemetry.record.reader import RecordReader, Unreadable
from telemetry.record.rows import PlanRow, ms_of
from telemetry.record.settings import RunSettings


def recorded_name(runs: Path, run: str) -> str:
    """The name of a recorded run that stays valid when `latest` is another one. Raises NoSuchRun."""
    folder = find_run(runs, run)
    return folder.name if folder.parent == runs.resolve() else str(folder)


def recorded_settings(runs: Path, run: str) -> Mapping[str, str | None]:
    """The settings of a recorded run, by field name, in the syntax of the command line: its times as a person writes
    them, before its pace. Whether they are allowed is not checked here. Raises NoSuchRun, Unrepeatable."""
    settings = _settings(RecordReader(find_run(runs, run)))
    pace = settings.pace
    return {
        "robots": str(settings.robots),
        "copies": str(settings.copies),
        "seed": str(settings.seed),
        "exhibit": settings.exhibit,
        "pace": str(pace),
        "tick": format_duration(round(settings.tick_us / pace)),
        "quiet_period": format_duration(round(settings.quiet_period_us / pace)),
        "for_": format_duration(round(settings.for_us / pace)),
        "limit": format_duration(ceil(settings.limit_us / pace)),
        "relays": str(settings.shards),
        "anomalies": format_thresholds(settings.anomalies),
        "closed": str(settings.closed),
    }


def recorded_pace(runs: Path, run: str) -> int:
    """How many times as long everything took in a recorded run. Raises NoSuchRun, Unrepeatable."""
    return _settings(RecordReader(find_run(runs, run))).pace


def recorded_plan(runs: Path, run: str) -> list[Timed]:
    """The plan of a recorded run at that run's pace, with the dice of each fault. Raises NoSuchRun, Unrepeatable."""
    record = RecordReader(find_run(runs, run))
    settings = _settings(record)
    try:
        changes = record.plan()
        if any(row.request and not row.refusal for row in changes) or any(
            not row.refusal for row in record.acknowledgements()
        ):
            return _plan_in_force(_changes(record, changes, settings.limit_us), _injections(record))
    except Unreadable as error:
        raise Unrepeatable(f"the plan of run {run} is not known: {error}") from None
    if len(settings.plan) != len(settings.instances):
        counts = f"{len(settings.plan)} lines, but {len(settings.instances)} instances"
        raise Unrepeatable(f"the record's plan has {counts}")
    try:
        return plan_at_start(settings)
    except PlanSyntaxError as error:
        raise _unknown(error) from None


def recorded_secret(runs: Path, run: str, *guesses: bytes) -> bytes:
    """The secret of a recorded run: what was written, or the one of `guesses` that was dealt.
    Raises NoSuchRun, Unrepeatable."""
    record = RecordReader(find_run(runs, run))
    try:
        dealt, written = record.secret_sha256(), record.written_secret()
    except Unreadable as error:
        raise Unrepeatable(f"the secret of run {run} is not known: {error}") from None
    for secret in (written, *guesses):
        if secret is not None and hashlib.sha256(secret).hexdigest() == dealt:
            return secret
    raise Unrepeatable(f"run {run} did not write its secret; give the same with --secret or --secret-file")


def plan_at_start(settings: RunSettings) -> list[Timed]:
    """The plan that a run was given. Raises ValueError: it names a fault that is unknown here, or the numbers of the
    dice are not as many as the lines."""
    pairs = zip(settings.instances, settings.plan, strict=True)
    return [Timed(instance, parse_line(text)) for instance, text in pairs]


def _settings(record: RecordReader) -> RunSettings:
    try:
        return record.settings()
    except Unreadable as error:
        raise Unrepeatable(
            f"the record of run {record.folder.name} has no settings that can be read: {error}"
        ) from None


def _plan_in_force(changes: Iterable[tuple[int, dict[int, str]]], injections: Iterable[Line]) -> list[Timed]:
    """Every fault that was in force, from when to when since `go`: a line for each occurrence; then `injections`.

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


def _changes(record: RecordReader, rows: list[PlanRow], limit_us: int) -> list[tuple[int, dict[int, str]]]:
    """What was in force, by instance, from microseconds since `go` on. The heal at the end, which may have been stored
    more than once, does not belong to the plan. Raises Unreadable, Unrepeatable."""
    go_us, stop_us = record.order_us("go"), record.order_us("stop")
    if go_us is None:
        raise Unrepeatable(f"the plan of run {record.folder.name} is not known: it was never started")
    rows = [row for row in rows if row.shard == 0]
    while rows and stop_us is not None and not rows[-1].faults and ms_of(rows[-1].id) * 1000 >= stop_us:
        rows.pop()
    changes: list[tuple[int, dict[int, str]]] = []
    for row in rows:
        at_us = min(max(0, ms_of(row.id) * 1000 - go_us), limit_us)  # the server's clock is not the limit's
        if changes and changes[-1][0] == at_us:
            changes.pop()  # it lasted for no time at all
        changes.append((at_us, {planned.instance: planned.fault for planned in row.faults}))
    return changes


def _injections(record: RecordReader) -> Iterator[Line]:
    """The injected process faults. A pause lasted until it was ended, by its time or before it, or until the end of the
    run. Raises Unreadable, Unrepeatable."""
    rows, go_ms = record.injections(), (record.order_us("go") or 0) // 1000
    stop_us = record.order_us("stop")
    end_ms = None if stop_us is None else stop_us // 1000
    for place, row in enumerate(rows):
        if row.verb == Resume.name or row.victim == "supervisor":
            continue
        text = f"{row.verb} {row.victim} @{max(0, ms_of(row.id) - go_ms)}ms"
        if row.verb == Pause.name:
            resumed = (ms_of(later.id) for later in rows[place:] if _resumes(later.verb, later.victim, row.victim))
            until_ms = next(resumed, end_ms if end_ms is not None else ms_of(rows[-1].id))
            text += f"+{max(1, until_ms - ms_of(row.id))}ms"
        yield _line(text)


def _resumes(verb: str, victim: str, paused: str) -> bool:
    return (verb, victim) == (Resume.name, paused)


def _line(text: str) -> Line:
    try:
        return parse_line(text)
    except PlanSyntaxError as error:
        raise Unrepeatable(f"the record holds an injection that is unknown here: {error}") from None


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
