"""An experiment that can be run: settings, fault plan, bounds and deal, all checked. Reads files, starts nothing.

Settings are as a person wrote them; plan, bounds and terms are those of the run, in which everything takes `--pace`
times as long.

A plan begins with a preset, a file or a recorded run. A fault of a flag that is for everyone and always replaces the
fault of its name; any other is added. The plan is checked against the run, as later requests are
(broker/faults/feasible.py): its robots, relays and deal, how long it goes on, and what its lab can reach.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import msgspec

from broker.control_entries import PlanChange
from broker.faults.feasible import Lab, RunFacts, plan_problems
from broker.faults.grammar import MOST_LINES, PRESETS, Line, lines_of, parse_line, parse_lines
from broker.faults.schedule import FOREVER_US, Schedule, Timed, amend, timed
from broker.faults.scheduler import SHORT_PLAN, is_short
from broker.faults.syntax import PlanSyntaxError, format_duration
from deploy.config.fault_options import PROCESS_FAULT_SHORTHANDS, SHORTHANDS
from deploy.config.repeat import recorded_pace, recorded_plan, recorded_secret
from deploy.config.settings import (
    DEFAULT_SECRET,
    EXPERIMENT,
    LARGEST_SECRET,
    MOST_LIVE,
    MOST_ROBOTS,
    LabSettings,
    load_settings,
)
from deploy.config.toml_file import read_toml
from deploy.errors import UsageError
from robots.exhibits.catalogue import components_of
from robots.run.deal import Deal, Terms
from robots.run.stop_rule import Bounds
from robots.secret import BadSecret


def load_deal(settings: LabSettings) -> Deal:
    """The deal of the secret. Raises UsageError."""
    option, content = _secret_bytes(settings)
    if len(content) > LARGEST_SECRET:
        raise UsageError(f"{option}: more than {LARGEST_SECRET} bytes; at most that many are allowed")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{option}: byte {error.start} is not UTF-8; only UTF-8 text is allowed") from None
    try:
        return Deal(text, settings.robots, settings.copies, settings.seed)
    except BadSecret as bad:
        raise UsageError(f"{option}: {bad}") from None


def _secret_bytes(settings: LabSettings) -> tuple[str, bytes]:
    """The secret, and the option that it came from."""
    if settings.secret is not None and settings.secret_file is not None:
        raise UsageError("--secret and --secret-file: only one of them is allowed")
    if settings.secret is not None:
        return "--secret", settings.secret.encode("utf-8", "surrogateescape")
    if settings.again is not None and settings.secret_file is None:
        return "--again", recorded_secret(settings.runs_dir, settings.again, DEFAULT_SECRET.encode())
    if settings.secret_file is None:
        return "--secret", DEFAULT_SECRET.encode()
    try:
        if settings.secret_file == "-":  # noqa: S105  the name for standard input
            if sys.stdin is None:
                raise UsageError("--secret-file: standard input is closed")
            return "--secret-file", sys.stdin.buffer.read(LARGEST_SECRET + 1)
        with Path(settings.secret_file).open("rb") as file:
            return "--secret-file", file.read(LARGEST_SECRET + 1)
    except OSError as error:
        raise UsageError(f"--secret-file: {settings.secret_file}: {error.strerror or error}") from None


LONGEST_TICK_US: Final = 3_600_000_000
_GRACE_US: Final = 30_000_000  # the limit's distance from the end of `--for` and plan, when no limit is set


def load_plan(settings: LabSettings) -> list[Timed]:
    """The plan at the run's pace, each fault with the number of its dice. Whether the run can do it is not checked
    here. Raises UsageError."""
    if settings.again is not None:
        plan = _slowed(recorded_plan(settings.runs_dir, settings.again), settings)
        is_fit = is_short(plan) or _is_short_at_any_time(plan)
    else:
        base = lines_of(settings.preset, settings.robots) if settings.faults is None else _lines_in(settings)
        plan = _slowed(timed(_amended(base, list(_flags(settings)))), settings)
        is_fit = is_short(plan)
    if not is_fit:
        raise _too_long()
    return plan


def _slowed(plan: Iterable[Timed], settings: LabSettings) -> list[Timed]:
    """The plan at the pace of the settings; a recorded one has the pace of its own run. Raises UsageError."""
    before = 1 if settings.again is None else recorded_pace(settings.runs_dir, settings.again)
    if settings.pace == before:
        return list(plan)
    slowed = [planned.stretched(Fraction(settings.pace, before)) for planned in plan]
    for planned in slowed:
        try:
            parse_line(planned.line.text())
        except PlanSyntaxError as error:
            raise UsageError(f"--pace: {settings.pace}x makes a fault too slow: {error}") from None
    return slowed


def _is_short_at_any_time(plan: Sequence[Timed]) -> bool:
    """Whether at no time more is in force than a run may have. This is the limit for the plan of a record, which has a
    line for each occurrence of a fault. A repeated fault counts until the end."""
    edges: list[tuple[int, bool, int]] = []
    for place, when in enumerate(planned.line.when for planned in plan):
        begin_us = -1 if when.start_us is None else when.start_us
        is_over = when.duration_us is not None and when.every_us is None
        edges += [
            (begin_us, True, place),
            (begin_us + (when.duration_us or 0) if is_over else FOREVER_US, False, place),
        ]
    in_force: dict[int, Timed] = {}
    for _, begins, place in sorted(edges):  # at the same time, ends come first
        if not begins:
            del in_force[place]
            continue
        in_force[place] = plan[place]
        if not is_short(in_force.values()):
            return False
    return True


def _amended(base: Iterable[Line], more: Sequence[Line]) -> list[Line]:
    if len(more) > MOST_LINES:  # before anything is done with them
        raise _too_long()
    return amend(base, more)


def _too_long() -> UsageError:
    return UsageError(f"the fault plan is too long; allowed is {SHORT_PLAN}")


def bounds_of(settings: LabSettings, plan: Sequence[Timed]) -> Bounds:
    """How long the run may and must take. Raises UsageError when the limit is too short for the plan or
    a setting."""
    pace, for_us = settings.pace, settings.for_ * settings.pace
    if settings.tick * pace > LONGEST_TICK_US:
        long = format_duration(settings.tick * pace)
        raise UsageError(f"--tick: {long}{f' with --pace {pace}x' * (pace > 1)} is too long; at most 1h is allowed")
    settled_us = Schedule(plan, for_us).settled_us
    limit_us = max(for_us, settled_us) + _GRACE_US * pace if settings.limit is None else settings.limit * pace
    limit = format_duration(limit_us)
    if settled_us > limit_us:
        raise UsageError(
            f"--limit: {limit} is too short: the plan's last fault is over at {format_duration(settled_us)}"
        )
    for name in ("tick", "quiet_period"):
        if getattr(settings, name) * pace > limit_us:
            raise UsageError(
                f"--{name.replace('_', '-')}: {format_duration(getattr(settings, name))} is above --limit {limit}"
            )
    return Bounds(for_us, limit_us)


def _flags(settings: LabSettings) -> Iterable[Line]:
    """The faults of the flags; each text was checked before."""
    for name in SHORTHANDS:
        arguments = getattr(settings, name)
        if arguments is not None:
            yield parse_line(f"{name.replace('_', '-')} {arguments}")
    yield from map(parse_line, (*settings.fault, *settings.chaos))
    for name in PROCESS_FAULT_SHORTHANDS:
        yield from (parse_line(f"{name} {arguments}") for arguments in getattr(settings, name))


def _lines_in(settings: LabSettings) -> list[Line]:
    """The lines of a plan file: `faults = [LINE, …]`, and perhaps the `preset` that it begins with."""
    path = settings.faults
    assert path is not None
    table = read_toml(path, f"--faults: {path}")
    unknown = sorted(table.keys() - {"preset", "faults"})
    if unknown:
        raise UsageError(f"--faults: {path}: {unknown[0]!r} is unknown; allowed are faults and preset")
    preset, texts = table.get("preset", "calm"), table.get("faults", [])
    if not isinstance(preset, str) or preset not in PRESETS:
        raise UsageError(f"--faults: {path}: preset: {preset!r} is unknown; allowed are {', '.join(PRESETS)}")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"--faults: {path}: faults: a list of texts is allowed")
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            lines += parse_lines(text)
        except PlanSyntaxError as error:
            raise UsageError(f"--faults: {path}: fault {number}: {error}") from None
    return _amended(lines_of(preset, settings.robots), lines)


class Experiment(msgspec.Struct, frozen=True):
    """Everything that is decided before a run begins."""

    settings: LabSettings
    plan: list[Timed]
    bounds: Bounds
    deal: Deal
    lab: Lab
    is_varied: bool
    """Whether a flag was given that may make the run differ from the one that it repeats."""

    @property
    def terms(self) -> Terms:
        """What every robot gets to know."""
        return self.settings.terms(self.plan)

    @property
    def first_plan(self) -> PlanChange:
        """What is in force from the deal on."""
        return components_of(self.settings.exhibit).plan_scheduler(self.plan, self.bounds.for_us).first


def prepare(given: Mapping[str, Any], lab: Lab = "simulation") -> Experiment:
    """The experiment of the flags that were `given`, the environment, robots.toml and the defaults, for a lab: `run`
    becomes `guest` with a server that is named.

    Raises UsageError, NoSuchRun, Unrepeatable.
    """
    settings = load_settings(given, MOST_ROBOTS if lab == "simulation" else MOST_LIVE)
    if lab == "run" and settings.address is not None:
        lab = "guest"
    plan = load_plan(settings)
    bounds, deal = bounds_of(settings, plan), load_deal(settings)
    facts = RunFacts(settings.robots, settings.relays, bounds.for_us, bounds.limit_us, deal.holders, lab)
    for problem in plan_problems(plan, facts):
        raise UsageError(f"fault {problem}")  # the first one: a person mends one after the other
    return Experiment(settings, plan, bounds, deal, lab, not EXPERIMENT.isdisjoint(given))
