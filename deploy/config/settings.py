"""What a person may set, on the command line (which wins) and in the environment (`ROBOTS_…`), checked in one place.

Nothing is started here and nothing is written. Every complaint is one line that names the option and what is allowed.

The options that `run` and `simulate` share: names and help. What is allowed, deploy/config/settings.py says.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import NoDecode, SettingsConfigDict

from broker.faults.fate import median_delay_us
from broker.faults.grammar import PRESETS
from broker.faults.schedule import Timed
from broker.faults.syntax import format_duration, parse_duration
from broker.streams.connection import parse_url
from deploy.config.fault_options import (
    PROCESS_FAULT_SHORTHANDS,
    SHORTHANDS,
    FaultOptions,
    FaultSettings,
    canonical_lines,
)
from deploy.config.repeat import recorded_name, recorded_settings
from deploy.errors import UsageError
from robots.run.deal import Terms

INTERRUPTED: Final = 130  # the exit code of what a person interrupted


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExperimentOptions(FaultOptions):  # type: ignore[misc]  # made at run time
    """What to try."""

    robots: Annotated[str | None, Parameter(name=["--robots", "-n"], help="How many robots. [default: 6]")] = None
    secret: Annotated[str | None, Parameter(help="The secret itself. [default: a sentence of 11 words]")] = None
    secret_file: Annotated[str | None, Parameter(help="A UTF-8 file with the secret; - is standard input.")] = None
    copies: Annotated[str | None, Parameter(help="How many robots hold each part at the start. [default: 1]")] = None
    again: Annotated[
        str | None,
        Parameter(help="Repeat a recorded run: its seed, settings and plan, with what was changed by hand and when."),
    ] = None
    preset: Annotated[
        str | None,
        Parameter(
            help="The network: calm, lossy, storm or split. An option such as --loss replaces its fault of that name; 0"
            " removes it. [default: lossy]"
        ),
    ] = None
    fault: Annotated[
        tuple[str, ...] | None,
        Parameter(help="Any fault: 'NAME ARGS [TARGET] [@start[+duration]] [every T]'. May be repeated."),
    ] = None
    faults: Annotated[
        str | None, Parameter(help="A TOML file in the place of the preset: faults = ['loss 0.2', …].")
    ] = None
    chaos: Annotated[
        tuple[str, ...] | None, Parameter(help="Any fault of a process: 'kill robot every 500ms'. Likewise.")
    ] = None
    relays: Annotated[str | None, Parameter(help="Outboxes, each with a relay of its own. [default: 1]")] = None
    seed: Annotated[str | None, Parameter(help="Draws deal and fates. [default: drawn, and printed]")] = None
    tick: Annotated[str | None, Parameter(help="How often a robot gossips. [default: 100ms]")] = None
    quiet_period: Annotated[str | None, Parameter(help="How long without news before it writes. [default: 1s]")] = None
    for_: Annotated[str | None, Parameter(name="--for", help="Go on at least so long. [default: 0s]")] = None
    limit: Annotated[str | None, Parameter(help="Go on at most so long. [default: --for + 30s]")] = None
    runs_dir: Annotated[str | None, Parameter(help="Where records are kept. [default: runs]")] = None
    json_: Annotated[
        bool | None, Parameter(name="--json", negative="--no-json", help="Print one JSON object, and only that.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where the secret is to go, beside the record."""

    output: Annotated[str | None, Parameter(help="Also write the reconstructed secret to this file.")] = None
    force: Annotated[bool | None, Parameter(negative="--no-force", help="Replace an existing --output.")] = None


def given(*groups: Any, **single: Any) -> Mapping[str, Any]:
    """The options that were really given, by the name of their setting."""
    options = {field.name: getattr(group, field.name) for group in groups for field in fields(group)} | single
    return {name: value for name, value in options.items() if value is not None}


DEFAULT_SECRET: Final = "Hidden beneath the old oak tree, golden coins patiently await discovery."  # noqa: S105
MOST_ROBOTS: Final = 10_000
MOST_RELAYS: Final = 16
MOST_LIVE: Final = 500  # robots; each is two processes and some eight connections
LARGEST_SECRET: Final = 4 * 1024 * 1024  # bytes
SHORTEST_TICK_US: Final = 10_000
LARGEST_SEED: Final = 2**63 - 1

EXPERIMENT: Final = frozenset(
    ("robots", "secret", "secret_file", "copies", "relays", "seed", "tick", "quiet_period", "for_", "limit")
)
"""The settings that say what is tried, but for the plan."""

_PLAN: Final = (*SHORTHANDS, "fault", "faults", *PROCESS_FAULT_SHORTHANDS, "chaos")


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        try:
            number = int(str(value))
        except ValueError:
            raise ValueError(f"{value!r} is not a whole number; allowed is {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"{number} is outside of what is allowed: {low} to {high}")
        return number

    return check


def _time(shortest_us: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        microseconds = parse_duration("0s" if value == "0" else str(value))
        if microseconds < shortest_us:
            raise ValueError(f"{value!r} is too short; at least {format_duration(shortest_us)} is allowed")
        return microseconds

    return check


def _choice(*allowed: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is unknown; allowed are {', '.join(allowed)}")
        return str(value)

    return check


def _server(value: Any) -> str:
    parse_url(str(value))
    return str(value)


class LabSettings(FaultSettings):  # type: ignore[misc]  # made at run time
    """One run's settings. Times are whole microseconds."""

    model_config = SettingsConfigDict(
        env_prefix="ROBOTS_", extra="ignore", env_ignore_empty=True, validate_default=False
    )

    robots: Annotated[int, BeforeValidator(_whole(2, MOST_ROBOTS))] = 6
    secret: str | None = None
    secret_file: str | None = None
    copies: Annotated[int, BeforeValidator(_whole(1, MOST_ROBOTS))] = 1
    again: str | None = None
    preset: Annotated[str, BeforeValidator(_choice(*PRESETS))] = "lossy"
    fault: Annotated[tuple[str, ...], NoDecode, BeforeValidator(canonical_lines)] = ()  # with ; between them
    faults: Path | None = None
    chaos: Annotated[tuple[str, ...], NoDecode, BeforeValidator(canonical_lines)] = ()
    relays: Annotated[int, BeforeValidator(_whole(1, MOST_RELAYS))] = 1
    seed: Annotated[int, BeforeValidator(_whole(0, LARGEST_SEED))] = Field(
        default_factory=lambda: secrets.randbelow(1_000_000)
    )
    tick: Annotated[int, BeforeValidator(_time(SHORTEST_TICK_US))] = 100_000
    quiet_period: Annotated[int, BeforeValidator(_time(0))] = 1_000_000
    for_: Annotated[int, BeforeValidator(_time(0))] = Field(default=0, validation_alias="ROBOTS_FOR")
    limit: Annotated[int | None, BeforeValidator(_time(1))] = None
    output: Path | None = None
    force: bool = False
    runs_dir: Path = Path("runs")
    redis_url: Annotated[str | None, BeforeValidator(_server)] = None
    ui: Annotated[Literal["auto", "plain", "none"], BeforeValidator(_choice("auto", "plain", "none"))] = "auto"
    json_: bool = Field(default=False, validation_alias="ROBOTS_JSON")

    def terms(self, plan: Iterable[Timed]) -> Terms:
        """What every robot is told."""
        median = median_delay_us(planned.line.fault for planned in plan if not planned.line.when.start_us)
        return Terms(self.robots, self.relays, self.seed, self.tick, self.quiet_period, median)


def load_settings(given: Mapping[str, Any], most_robots: int = MOST_ROBOTS) -> LabSettings:
    """Settings from what was `given` on the command line (values by field name, only those that were given), the
    record that is to be run again, the environment, and the defaults. Raises Unfit, NoSuchRun, Unrepeatable."""
    settings = _settings(given, {})
    if settings.again is not None:
        settings = _settings(given, _recorded(settings.again, settings.runs_dir, given))
    if "preset" in given and "faults" in given:
        raise UsageError(
            "--preset and --faults: only one of them is allowed; a plan file may name the preset it begins with"
        )
    for secret, other in (("secret", "secret_file"), ("secret_file", "secret")):
        if secret in given and other not in given:  # a flag wins over the environment
            settings = settings.model_copy(update={other: None})
    if settings.robots > most_robots:
        raise UsageError(f"--robots: {settings.robots} is outside of what is allowed: 2 to {most_robots}")
    if settings.copies > settings.robots:
        raise UsageError(
            f"--copies: {settings.copies} is more than there are robots; allowed is 1 to {settings.robots}"
        )
    if settings.limit is not None and settings.limit < settings.for_:
        raise UsageError(f"--limit: {format_duration(settings.limit)} is below --for {format_duration(settings.for_)}")
    if settings.output is not None:
        _check_output(settings.output, settings.force)
    return settings


def _settings(given: Mapping[str, Any], recorded: Mapping[str, Any]) -> LabSettings:
    try:
        return LabSettings(**{_ALIASES.get(name, name): value for name, value in {**given, **recorded}.items()})
    except ValidationError as error:
        raise UsageError(_complaint(error, given, recorded)) from None


def _recorded(run: str, runs_dir: Path, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a recorded run was given and is not given now, whatever the environment says; its plan cannot be mixed with
    another one."""
    for name in (*_PLAN, "preset"):
        if name in given:
            raise UsageError(
                f"--again: the plan is the recorded one; --{name.replace('_', '-')} is not allowed beside it"
            )
    recorded = {**dict.fromkeys((*_PLAN, "secret", "secret_file")), **recorded_settings(runs_dir, run)}
    if "for_" in given:
        del recorded["limit"]
    others = {name: value for name, value in recorded.items() if name not in given}
    return {**others, "again": recorded_name(runs_dir, run)}


_ALIASES: Final = {"for_": "ROBOTS_FOR", "json_": "ROBOTS_JSON"}


def _complaint(error: ValidationError, given: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    """One line for the first thing that is wrong, by the name under which it was set."""
    first = error.errors()[0]
    field = str(first["loc"][0]).removeprefix("ROBOTS_").lower()
    if {field, f"{field}_"} & given.keys():
        name = f"--{field.replace('_', '-')}"
    elif {field, f"{field}_"} & recorded.keys():
        name = f"--again: {field} in the record of run {recorded['again']}"
    else:
        name = f"ROBOTS_{field.upper()}"
    return f"{name}: {first['msg'].removeprefix('Value error, ')}"


def _check_output(output: Path, force: bool) -> None:
    if output.is_dir():
        raise UsageError(f"--output: {output} is a folder; a file is allowed")
    if output.exists() and not force:
        raise UsageError(f"--output: {output} exists; --force allows to replace it")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output: there is no folder {output.absolute().parent}")
