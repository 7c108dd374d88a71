"""The fault plan of a run: what the settings ask for, or what a recorded run had. Reads files, starts nothing.

A plan begins with a preset or a file; a fault that is named by a flag for everyone and always replaces the one of its
name in there, any other is added.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from broker.faults.grammar import MOST_LINES, PRESETS, Line, lines_of, parse_line, parse_lines
from broker.faults.schedule import FOREVER_US, Schedule, Timed, amend, timed
from broker.faults.scheduler import SHORT_PLAN, is_short
from broker.faults.syntax import Misspelt, format_duration
from deploy.again import recorded_plan
from deploy.plan_limits import unfit
from deploy.settings import DEED_SHORTHANDS, SHORTHANDS, LabSettings, Unfit
from robots.run.stop_rule import Bounds

_GRACE_US: Final = 30_000_000  # the limit's distance from the end of `--for` and plan, when no limit is set
_LARGEST_FILE: Final = 256 * 1024  # bytes


def load_plan(settings: LabSettings) -> list[Timed]:
    """The plan, each fault with the number of its dice. Raises Unfit."""
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
        complaint = unfit(planned.line, settings.robots, settings.relays, begin_us, settings.for_)
        if complaint is not None:
            raise Unfit(f"fault {complaint}")
    return plan


def _is_short_at_any_time(plan: Sequence[Timed]) -> bool:
    """Whether never more is in force than a run may have: all that counts where a record tells each time that a fault
    came as a line of its own. What comes again counts until the end."""
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


def _too_long() -> Unfit:
    return Unfit(f"the fault plan is too long; allowed is {SHORT_PLAN}")


def bounds_of(settings: LabSettings, plan: Sequence[Timed]) -> Bounds:
    """How long the run may and must take. Raises Unfit when its limit leaves no time for something that is set."""
    settled_us = Schedule(plan, settings.for_).settled_us
    limit_us = max(settings.for_, settled_us) + _GRACE_US if settings.limit is None else settings.limit
    limit = format_duration(limit_us)
    if settled_us > limit_us:
        raise Unfit(f"--limit: {limit} is too short: the plan's last fault is over at {format_duration(settled_us)}")
    for name in ("tick", "quiet_period"):
        if getattr(settings, name) > limit_us:
            raise Unfit(
                f"--{name.replace('_', '-')}: {format_duration(getattr(settings, name))} is above --limit {limit}"
            )
    return Bounds(settings.for_, limit_us)


def _flags(settings: LabSettings) -> Iterable[Line]:
    """What was asked for beside preset or file, each text checked before."""
    for name in SHORTHANDS:
        arguments = getattr(settings, name)
        if arguments is not None:
            yield parse_line(f"{name.replace('_', '-')} {arguments}")
    yield from map(parse_line, (*settings.fault, *settings.chaos))
    for name in DEED_SHORTHANDS:
        yield from (parse_line(f"{name} {arguments}") for arguments in getattr(settings, name))


def _lines_in(settings: LabSettings) -> list[Line]:
    """What a plan file says: `faults = [LINE, …]`, and perhaps the `preset` that it begins with."""
    path = settings.faults
    assert path is not None
    table = _table(path)
    unknown = sorted(table.keys() - {"preset", "faults"})
    if unknown:
        raise Unfit(f"--faults: {path}: {unknown[0]!r} is unknown; allowed are faults and preset")
    preset, texts = table.get("preset", "calm"), table.get("faults", [])
    if not isinstance(preset, str) or preset not in PRESETS:
        raise Unfit(f"--faults: {path}: preset: {preset!r} is unknown; allowed are {', '.join(PRESETS)}")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Unfit(f"--faults: {path}: faults: a list of texts is allowed")
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            lines += parse_lines(text)
        except Misspelt as error:
            raise Unfit(f"--faults: {path}: fault {number}: {error}") from None
    return _amended(lines_of(preset, settings.robots), lines)


def _table(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise Unfit(f"--faults: {path}: more than {_LARGEST_FILE} bytes; at most that many are allowed")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise Unfit(f"--faults: {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit(f"--faults: {path}: not TOML: {error}") from None
