"""An experiment that can be run: settings, fault plan, bounds and deal, all checked. Reads files, starts nothing.

A plan begins with a preset, a file or a recorded run. A fault of a flag that is for everyone and always replaces the
fault of its name; any other is added. Every line is checked against the run, as later requests are: its robots and
relays, and the time for which the run goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from broker.control_entries import PlanChange
from broker.envelope import robot_name
from broker.faults.grammar import MOST_LINES, PRESETS, Line, lines_of, parse_line, parse_lines
from broker.faults.process_faults import ProcessFault
from broker.faults.schedule import FOREVER_US, Schedule, Timed, amend, timed
from broker.faults.scheduler import SHORT_PLAN, is_short
from broker.faults.syntax import LONGEST_TEXT, PlanSyntaxError, format_duration
from deploy.config.fault_options import PROCESS_FAULT_SHORTHANDS, SHORTHANDS
from deploy.config.repeat import recorded_plan, recorded_secret
from deploy.config.settings import (
    DEFAULT_SECRET,
    EXPERIMENT,
    LARGEST_SECRET,
    MOST_ROBOTS,
    LabSettings,
    load_settings,
    read_toml,
)
from deploy.errors import UsageError
from robots.exhibits.catalogue import components_of
from robots.run.deal import Deal, Terms
from robots.run.stop_rule import Bounds
from robots.secret import BadSecret

_SECOND_US = 1_000_000


def line_problem(line: Line, robots: int, relays: int, begin_us: int, for_us: int | None) -> str | None:
    """Why `line` is not allowed in a run of so many `robots` and `relays`, in one line that begins with the line
    itself; None when it is allowed.

    `begin_us` is when it begins, counted from `go`; `for_us` is how long the run goes on at least, None when that is
    not known.
    """
    text, last = line.text(), line.fault.target.highest
    if len(text) > LONGEST_TEXT:  # written shorter it could be read, but what relays get is this
        return f"'{text[:40]}…': written out it has {len(text)} characters; allowed are {LONGEST_TEXT}"
    if last is not None and last >= robots:
        names = f"{robot_name(0, robots)} to {robot_name(robots - 1, robots)}"
        return f"{text!r}: r{last:02d} is none of the robots; they are {names}"
    relay = line.fault.process.relay if isinstance(line.fault, ProcessFault) else None
    if relay is not None and relay >= relays:
        return f"{text!r}: there is no relay:{relay}; they are relay:0 to relay:{relays - 1}"
    every_us = line.when.every_us
    if every_us is not None and for_us is not None and begin_us >= for_us:
        longer_s = (begin_us + 3 * every_us) // _SECOND_US + 1
        return (
            f"{text!r}: it would come again only until --for, which is {format_duration(for_us)};"
            f" start the run with a longer one, such as --for {longer_s}s"
        )
    return None


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


_GRACE_US: Final = 30_000_000  # the limit's distance from the end of `--for` and plan, when no limit is set


def load_plan(settings: LabSettings) -> list[Timed]:
    """The plan, each fault with the number of its dice. Raises UsageError."""
    if settings.again is not None:
        plan = recorded_plan(settings.runs_dir, settings.again)
        is_fit = is_short(plan) or _is_short_at_any_time(plan)
    else:
        base = lines_of(settings.preset, settings.robots) if settings.faults is None else _lines_in(settings)
        plan = timed(_amended(base, list(_flags(settings))))
        is_fit = is_short(plan)
    if not is_fit:
        raise _too_long()
    for planned in plan:
        begin_us = planned.line.when.start_us or 0
        complaint = line_problem(planned.line, settings.robots, settings.relays, begin_us, settings.for_)
        if complaint is not None:
            raise UsageError(f"fault {complaint}")
    return plan


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
    settled_us = Schedule(plan, settings.for_).settled_us
    limit_us = max(settings.for_, settled_us) + _GRACE_US if settings.limit is None else settings.limit
    limit = format_duration(limit_us)
    if settled_us > limit_us:
        raise UsageError(
            f"--limit: {limit} is too short: the plan's last fault is over at {format_duration(settled_us)}"
        )
    for name in ("tick", "quiet_period"):
        if getattr(settings, name) > limit_us:
            raise UsageError(
                f"--{name.replace('_', '-')}: {format_duration(getattr(settings, name))} is above --limit {limit}"
            )
    return Bounds(settings.for_, limit_us)


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


def prepare(given: Mapping[str, Any], most_robots: int = MOST_ROBOTS) -> Experiment:
    """The experiment of the flags that were `given`, the environment, robots.toml and the defaults.

    Raises UsageError, NoSuchRun, Unrepeatable.
    """
    settings = load_settings(given, most_robots)
    plan = load_plan(settings)
    is_varied = not EXPERIMENT.isdisjoint(given)
    return Experiment(settings, plan, bounds_of(settings, plan), load_deal(settings), is_varied)
