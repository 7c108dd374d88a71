"""What a person may set, on the command line (which wins) and in the environment (`ROBOTS_…`), checked in one place.

Nothing is started here and nothing is written. Every complaint is one line that names the option and what is allowed.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.durations import format_duration, parse_duration
from broker.faults import AnyFault, Delay, Duplicate, Loss, Reorder, parse_delay, parse_probability
from broker.plan import median_delay_us
from broker.presets import PRESETS, faults_of
from broker.streams.connection import parse_url
from robots.deal import Deal
from robots.ending import Bounds
from robots.robot import Terms
from robots.secret import BadSecret

DEFAULT_SECRET: Final = "Hidden beneath the old oak tree, golden coins patiently await discovery."  # noqa: S105
GRACE_US: Final = 30_000_000  # the limit's distance from `--for`, when no limit is set
MOST_ROBOTS: Final = 10_000
MOST_LIVE: Final = 500  # robots; each is two processes and some eight connections
LARGEST_SECRET: Final = 4 * 1024 * 1024  # bytes
SHORTEST_TICK_US: Final = 10_000
LARGEST_SEED: Final = 2**63 - 1


class Unfit(Exception):
    """A setting is not allowed; the message is the one line that says which, and what is."""


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
        if isinstance(value, int):
            return value
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


def _probability(value: Any) -> str:
    parse_probability(str(value))
    return str(value)


def _delay(value: Any) -> str:
    parse_delay(str(value))
    return str(value)


def _server(value: Any) -> str:
    parse_url(str(value))
    return str(value)


Probability = Annotated[str | None, BeforeValidator(_probability)]


class LabSettings(BaseSettings):
    """One run's settings. Times are whole microseconds."""

    model_config = SettingsConfigDict(
        env_prefix="ROBOTS_", extra="ignore", env_ignore_empty=True, validate_default=False
    )

    robots: Annotated[int, BeforeValidator(_whole(2, MOST_ROBOTS))] = 6
    secret: str | None = None
    secret_file: str | None = None
    copies: Annotated[int, BeforeValidator(_whole(1, MOST_ROBOTS))] = 1
    preset: Annotated[str, BeforeValidator(_choice(*PRESETS))] = "lossy"
    loss: Probability = None
    duplicate: Probability = None
    delay: Annotated[str | None, BeforeValidator(_delay)] = None
    reorder: Probability = None
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

    @property
    def faults(self) -> list[AnyFault]:
        """The faults at the start: the preset's, as changed by the shorthands."""
        return faults_of(self.preset, self._replacing())

    @property
    def bounds(self) -> Bounds:
        """How long the run may and must take."""
        return Bounds(self.for_, self.for_ + GRACE_US if self.limit is None else self.limit)

    def terms(self, shards: int) -> Terms:
        """What every robot is told."""
        median = median_delay_us(self.faults)
        return Terms(self.robots, shards, self.seed, self.tick, self.quiet_period, median)

    def _replacing(self) -> dict[str, AnyFault | None]:
        replacing: dict[str, AnyFault | None] = {}
        for make in (Loss, Duplicate, Reorder):
            text = getattr(self, make.name)
            if text is not None:
                p = parse_probability(text)
                replacing[make.name] = make(p) if p else None
        if self.delay is not None:
            low, high = parse_delay(self.delay)
            replacing["delay"] = Delay(low, high) if high else None
        return replacing


def load_settings(given: Mapping[str, Any], most_robots: int = MOST_ROBOTS) -> LabSettings:
    """Settings from what was `given` on the command line (values by field name, only those that were given), the
    environment, and the defaults. Raises Unfit."""
    try:
        settings = LabSettings(**{_ALIASES.get(name, name): value for name, value in given.items()})
    except ValidationError as error:
        raise Unfit(_complaint(error, given)) from None
    for secret, other in (("secret", "secret_file"), ("secret_file", "secret")):
        if secret in given and other not in given:  # a flag wins over the environment
            settings = settings.model_copy(update={other: None})
    if settings.robots > most_robots:
        raise Unfit(f"--robots: {settings.robots} is outside of what is allowed: 2 to {most_robots}")
    if settings.copies > settings.robots:
        raise Unfit(f"--copies: {settings.copies} is more than there are robots; allowed is 1 to {settings.robots}")
    if settings.limit is not None and settings.limit < settings.for_:
        raise Unfit(f"--limit: {format_duration(settings.limit)} is below --for {format_duration(settings.for_)}")
    for name in ("tick", "quiet_period"):
        if getattr(settings, name) > settings.bounds.limit_us:
            length, limit = (format_duration(us) for us in (getattr(settings, name), settings.bounds.limit_us))
            raise Unfit(f"--{name.replace('_', '-')}: {length} is above --limit {limit}")
    if settings.output is not None:
        _check_output(settings.output, settings.force)
    return settings


_ALIASES: Final = {"for_": "ROBOTS_FOR", "json_": "ROBOTS_JSON"}


def _complaint(error: ValidationError, given: Mapping[str, Any]) -> str:
    """One line for the first thing that is wrong, by the name under which it was set."""
    first = error.errors()[0]
    field = str(first["loc"][0]).removeprefix("ROBOTS_").lower()
    is_flag = field in given or f"{field}_" in given
    name = f"--{field.replace('_', '-')}" if is_flag else f"ROBOTS_{field.upper()}"
    return f"{name}: {first['msg'].removeprefix('Value error, ')}"


def _check_output(output: Path, force: bool) -> None:
    if output.is_dir():
        raise Unfit(f"--output: {output} is a folder; a file is allowed")
    if output.exists() and not force:
        raise Unfit(f"--output: {output} exists; --force allows to replace it")
    if not output.absolute().parent.is_dir():
        raise Unfit(f"--output: there is no folder {output.absolute().parent}")


def load_deal(settings: LabSettings) -> Deal:
    """The secret that is set, dealt. Raises Unfit."""
    option, content = _secret_bytes(settings)
    if len(content) > LARGEST_SECRET:
        raise Unfit(f"{option}: more than {LARGEST_SECRET} bytes; at most that many are allowed")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unfit(f"{option}: byte {error.start} is not UTF-8; only UTF-8 text is allowed") from None
    try:
        return Deal(text, settings.robots, settings.copies, settings.seed)
    except BadSecret as bad:
        raise Unfit(f"{option}: {bad}") from None


def _secret_bytes(settings: LabSettings) -> tuple[str, bytes]:
    """The secret, and the option that it came from."""
    if settings.secret is not None and settings.secret_file is not None:
        raise Unfit("--secret and --secret-file: only one of them is allowed")
    if settings.secret is not None:
        return "--secret", settings.secret.encode("utf-8", "surrogateescape")
    if settings.secret_file is None:
        return "--secret", DEFAULT_SECRET.encode()
    try:
        if settings.secret_file == "-":  # noqa: S105  the name for standard input
            if sys.stdin is None:
                raise Unfit("--secret-file: standard input is closed")
            return "--secret-file", sys.stdin.buffer.read(LARGEST_SECRET + 1)
        with Path(settings.secret_file).open("rb") as file:
            return "--secret-file", file.read(LARGEST_SECRET + 1)
    except OSError as error:
        raise Unfit(f"--secret-file: {settings.secret_file}: {error.strerror or error}") from None
