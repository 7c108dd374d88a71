"""The one model of what a person may set: by flag, in the environment (`ROBOTS_…`), or in `robots.toml` of this folder.

Each setting is declared once, with its type, its check and its flag. Flags win over the environment, the environment
over the file, and the file over the defaults. Every error is one line that names the place the value came from.
Nothing is started here and nothing is written.
"""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from broker.faults.fate import median_delay_us
from broker.faults.grammar import PRESETS
from broker.faults.schedule import Timed
from broker.faults.syntax import format_duration
from broker.streams.address import Address
from deploy.config.fault_options import PROCESS_FAULT_SHORTHANDS, SHORTHANDS, FaultSettings, canonical_lines
from deploy.config.flags import DEATHS, NETWORK, OUTPUT, PLACE, ROBOTS, TIME, Given, flag, flag_of, name_of
from deploy.config.host import demand_output
from deploy.config.repeat import recorded_name, recorded_settings
from deploy.config.server_address import server_address
from deploy.config.toml_file import read_toml
from deploy.config.unknown import PREFIX, unknown_keys, unknown_variables
from deploy.config.values import (
    choice_of,
    duration,
    exhibit_name,
    handler_names,
    pace_factor,
    server_url,
    web_url,
    whole,
)
from deploy.errors import UsageError
from robots.exhibits.catalogue import EXHIBITS
from robots.run.deal import Terms
from telemetry.anomalies.thresholds import DEFAULTS, Thresholds, read_thresholds

SETTINGS_FILE: Final = "robots.toml"

DEFAULT_SECRET: Final = "Hidden beneath the old oak tree, golden coins patiently await discovery."  # noqa: S105
MOST_ROBOTS: Final = 10_000
MOST_RELAYS: Final = 16
MOST_WORKERS: Final = 200  # RQ workers of one `robots worker`
MOST_LIVE: Final = 500  # robots; each is two processes and some eight connections
MOST_HERTZ: Final = 30
LARGEST_SECRET: Final = 4 * 1024 * 1024  # bytes
SHORTEST_TICK_US: Final = 10_000
LARGEST_SEED: Final = 2**63 - 1

EXPERIMENT: Final = frozenset(
    (
        *("robots", "secret", "secret_file", "copies", "relays", "seed", "exhibit", "tick", "quiet_period", "for_"),
        *("limit", "pace", "closed"),
    )
)
"""The settings that say what is tried, but for the plan."""

SET_NOWHERE: Final = 3
"""The rank of a setting that comes from nowhere else."""

_PLAN: Final = (*SHORTHANDS, "fault", "faults", *PROCESS_FAULT_SHORTHANDS, "chaos")

S = TypeVar("S", bound="PlaceSettings")


class PlaceSettings(BaseSettings):
    """Where the server and the records are, and how the result is printed: what all commands share."""

    model_config = SettingsConfigDict(
        env_prefix="ROBOTS_",
        env_prefix_target="all",
        env_ignore_empty=True,
        extra="ignore",
        validate_default=False,
    )

    json_: Annotated[bool, flag(OUTPUT, "", "Print one JSON object, and only that.")] = Field(
        default=False, validation_alias="json"
    )
    redis_url: Annotated[
        str | None, BeforeValidator(server_url), flag(PLACE, "URL", "A server: redis://, rediss://, unix:// …")
    ] = None
    control_url: Annotated[
        str | None, BeforeValidator(server_url), flag(PLACE, "URL", "In its place: the server of RQ's queue, and …")
    ] = None
    data_url: Annotated[str | None, BeforeValidator(server_url), flag(PLACE, "URL", "… the one of the streams.")] = None
    redis_password_file: Annotated[Path | None, flag(PLACE, "FILE", "Holds the server's password, for all URLs.")] = (
        None
    )
    runs_dir: Annotated[Path, flag(PLACE, "FOLDER", "Where records are kept.")] = Path("runs")

    @functools.cached_property
    def address(self) -> Address | None:
        """The server that is named, with its password; None when none is. Raises UsageError."""
        return server_address(self.redis_url, self.control_url, self.data_url, self.redis_password_file)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then robots.toml. Raises UsageError."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _file_settings())

    @staticmethod
    def unknown_variables() -> Iterator[str]:
        """One line for each variable `ROBOTS_…` that is no setting of any command."""
        return unknown_variables(os.environ, setting_names())


class ServiceSettings(PlaceSettings):
    """What the long-running commands share: the above, and where they show that they live."""

    heartbeats: Annotated[
        Path | None, flag(PLACE, "FOLDER", "Keep a heartbeat there: a file whose age health checks read.")
    ] = None


class TraceSettings(PlaceSettings):
    """What all commands share, and where people see traces."""

    jaeger_url: Annotated[
        str | None,
        BeforeValidator(web_url),
        flag(OUTPUT, "URL", "Jaeger's pages, for links.", default="the collector's host, port 16686"),
    ] = None


class FollowSettings(ServiceSettings, TraceSettings):
    """Of a long-running command that sends traces."""


class AnomalySettings(PlaceSettings):
    """What all commands share, and the thresholds of anomalies."""

    anomalies: Annotated[
        Thresholds,
        NoDecode,
        PlainValidator(read_thresholds),
        flag(OUTPUT, "RULES", "Thresholds of anomalies: 'stuck_ticks 30, unheard 20'."),
    ] = DEFAULTS  # in robots.toml a table


class VerdictSettings(PlaceSettings):
    """What all commands share, and how much of a verdict is printed."""

    verbose: Annotated[bool, flag(OUTPUT, "", "Print why each promise holds, and all of each fault.")] = False


class VerifySettings(ServiceSettings, VerdictSettings):
    """Of the long-running command that judges."""


class ScreenSettings(PlaceSettings):
    """What all commands share, and how a run is shown while it goes on."""

    ui: Annotated[
        Literal["auto", "tui", "plain", "none"],
        BeforeValidator(choice_of("auto", "tui", "plain", "none")),
        flag(OUTPUT, "NAME", "Screens (tui), lines (plain), none, or what fits (auto)."),
    ] = "auto"
    hz: Annotated[
        int, BeforeValidator(whole(1, MOST_HERTZ)), flag(OUTPUT, "N", "How often the screens are painted, a second.")
    ] = 4
    ascii: Annotated[bool, flag(OUTPUT, "", "Draw the screens in ASCII.")] = False


class LabSettings(FaultSettings, TraceSettings, AnomalySettings, ScreenSettings, VerdictSettings):  # type: ignore[misc]  # one is made from the registry
    """One run's settings, as a person wrote them. Times are whole microseconds; in the run each takes `pace` times as
    long."""

    robots: Annotated[int, BeforeValidator(whole(2, MOST_ROBOTS)), flag(ROBOTS, "N", "How many.", short="-n")] = 6
    copies: Annotated[
        int,
        BeforeValidator(whole(1, MOST_ROBOTS)),
        flag(ROBOTS, "N", "How many robots hold each part at the start."),
    ] = 1
    secret: Annotated[str | None, flag(ROBOTS, "TEXT", "The secret itself.", default="a sentence of 11 words")] = None
    secret_file: Annotated[str | None, flag(ROBOTS, "FILE", "A UTF-8 file with the secret; - is standard input.")] = (
        None
    )
    seed: Annotated[
        int,
        BeforeValidator(whole(0, LARGEST_SEED)),
        flag(ROBOTS, "N", "Decides the deal and every fate.", default="drawn, and printed"),
    ] = Field(default_factory=lambda: secrets.randbelow(1_000_000))
    closed: Annotated[bool, flag(ROBOTS, "", "No robot joins, however many RQ workers are idle.")] = False
    again: Annotated[
        str | None, flag(ROBOTS, "RUN", "Repeat a recorded run: its settings and its plan, as they were.")
    ] = None

    exhibit: Annotated[
        str | None,
        BeforeValidator(exhibit_name),
        flag(ROBOTS, "NAME", "A lab that is broken on purpose, in one place: the judge must convict it."),
    ] = None

    preset: Annotated[
        str, BeforeValidator(choice_of(*PRESETS)), flag(NETWORK, "NAME", "A fault plan: calm, lossy, storm or split.")
    ] = "lossy"
    faults: Annotated[
        Path | None, flag(NETWORK, "FILE", "A TOML file in place of the preset: faults = ['loss .2', …].")
    ] = None
    fault: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(canonical_lines),
        flag(NETWORK, "FAULT", "Any fault: 'loss .9 r03 @1s+2s every 5s'; may be repeated."),
    ] = ()  # in the environment with ; between them
    relays: Annotated[
        int,
        BeforeValidator(whole(1, MOST_RELAYS)),
        flag(NETWORK, "N", "Outboxes, each with a relay of its own."),
    ] = 1

    chaos: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(canonical_lines),
        flag(DEATHS, "FAULT", "Any process fault: 'kill robot every 500ms'; may be repeated."),
    ] = ()

    for_: Annotated[int, BeforeValidator(duration(0)), flag(TIME, "TIME", "Shortest duration.")] = Field(
        default=0, validation_alias="for"
    )
    limit: Annotated[
        int | None, BeforeValidator(duration(1)), flag(TIME, "TIME", "Longest duration.", default="--for + 30s")
    ] = None
    tick: Annotated[
        int, BeforeValidator(duration(SHORTEST_TICK_US)), flag(TIME, "TIME", "How often a robot gossips.")
    ] = 100_000
    quiet_period: Annotated[
        int, BeforeValidator(duration(0)), flag(TIME, "TIME", "How long without news before a robot writes.")
    ] = 1_000_000

    pace: Annotated[
        int,
        BeforeValidator(pace_factor),
        flag(TIME, "FACTOR", "Slower: the run and its plan take so many times as long: 10x."),
    ] = 1
    hold: Annotated[bool, flag(TIME, "", "When all robots are born, wait for a person: Enter, or `robots go`.")] = False

    output: Annotated[Path | None, flag(OUTPUT, "FILE", "Also write the reconstructed secret to this file.")] = None
    force: Annotated[bool, flag(OUTPUT, "", "Replace an existing --output.")] = False

    handlers: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(handler_names),
        flag(OUTPUT, "MODULE:CLASS", "Your own handler of events; may be repeated.", short="--handler"),
    ] = ()  # in the environment with ; between them

    def terms(self, plan: Iterable[Timed]) -> Terms:
        """What every robot gets to know. The times of `plan` are those of the run."""
        tick_us, quiet_us = self.pace * self.tick, self.pace * self.quiet_period
        median = median_delay_us(planned.line.fault for planned in plan if not planned.line.when.start_us)
        return Terms(self.robots, self.relays, self.seed, tick_us, quiet_us, median, self.exhibit)


def load_place(given: Given) -> PlaceSettings:
    """What all commands share, from flags, environment, robots.toml and defaults. Raises UsageError."""
    return settings_of(PlaceSettings, given, {})


def load_service_settings(given: Given) -> ServiceSettings:
    """The same, and where a long-running command shows that it lives. Raises UsageError."""
    return settings_of(ServiceSettings, given, {})


def load_model(model: type[S], given: Given) -> S:
    """The settings of one command. Raises UsageError."""
    return settings_of(model, given, {})


def load_settings(given: Given, most_robots: int = MOST_ROBOTS) -> LabSettings:
    """A run's settings: from the flags, the record that is to be repeated or the exhibit that is to be shown, the
    environment, robots.toml, and the defaults. Raises UsageError, NoSuchRun, Unrepeatable."""
    settings = settings_of(LabSettings, given, {})
    if settings.again is None and settings.exhibit is not None:
        settings = settings_of(LabSettings, {**EXHIBITS[settings.exhibit].settings, **given}, {})
    if settings.again is not None:
        settings = settings_of(LabSettings, given, recorded_for(settings.again, settings.runs_dir, given))
    else:
        settings = _one_of("secret", "secret_file", _one_of("preset", "faults", settings, given), given)
    if settings.robots > most_robots:
        raise UsageError(f"--robots: {settings.robots} is outside of what is allowed: 2 to {most_robots}")
    if settings.copies > settings.robots:
        raise UsageError(
            f"--copies: {settings.copies} is more than there are robots; allowed is 1 to {settings.robots}"
        )
    if settings.limit is not None and settings.limit < settings.for_:
        raise UsageError(f"--limit: {format_duration(settings.limit)} is below --for {format_duration(settings.for_)}")
    if settings.output is not None:
        demand_output(settings.output, settings.force)
    return settings


def settings_of(model: type[S], given: Given, recorded: Mapping[str, Any]) -> S:
    """The settings of a model, from flags, the record that is repeated, environment, robots.toml and defaults. Raises
    UsageError."""
    try:
        return model(**{name_of(name): value for name, value in {**given, **recorded}.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        field = next(field for field in model.model_fields if name_of(field) == name)
        origin, _ = origin_of(field, given, recorded)
        raise UsageError(f"{origin}: {first['msg'].removeprefix('Value error, ')}") from None


def recorded_for(run: str, runs_dir: Path, given: Given) -> Mapping[str, Any]:
    """The settings of a recorded run that no flag replaces. They win over the environment and the file; the recorded
    plan cannot be mixed with another one."""
    for name in (*_PLAN, "preset"):
        if name in given:
            raise UsageError(f"--again: the plan is the recorded one; {flag_of(name)} is not allowed beside it")
    recorded = {**dict.fromkeys((*_PLAN, "secret", "secret_file")), **recorded_settings(runs_dir, run)}
    if "for_" in given:
        del recorded["limit"]
    others = {name: value for name, value in recorded.items() if name not in given}
    return {**others, "again": recorded_name(runs_dir, run)}


def origin_of(field: str, given: Given, recorded: Mapping[str, Any]) -> tuple[str, int]:
    """Where a setting comes from, as a person knows the place, and its rank: a lower one wins."""
    name = name_of(field)
    if field in given:
        return flag_of(field), 0
    if field in recorded:
        return f"--again: {name} in the record of run {recorded['again']}", 0
    if variable := _variable_of(name):
        return variable, 1
    if name in _file_settings():
        return f"{SETTINGS_FILE}: {name}", 2
    return flag_of(field), SET_NOWHERE


def _variable_of(name: str) -> str:
    """The variable that sets a setting, empty when none does. Its case does not matter, and the last one counts."""
    wanted = f"{PREFIX}{name}".lower()
    return next((key for key, value in reversed(list(os.environ.items())) if value and key.lower() == wanted), "")


def _one_of(one: str, other: str, settings: LabSettings, given: Given) -> LabSettings:
    """The settings without the one of two that exclude each other whose place has the lower rank."""
    (here, rank), (there, other_rank) = origin_of(one, given, {}), origin_of(other, given, {})
    if rank == other_rank < SET_NOWHERE:
        raise UsageError(f"{here} and {there}: only one of them is allowed")
    if rank == other_rank:
        return settings
    loser = other if rank < other_rank else one
    kept = settings.model_copy(update={loser: LabSettings.model_fields[loser].default})
    kept.model_fields_set.discard(loser)
    return kept


def setting_names() -> frozenset[str]:
    """The names of all settings of all commands, as people write them in robots.toml."""
    return frozenset(map(name_of, models_of_settings()))


def models_of_settings() -> dict[str, type[PlaceSettings]]:
    """The fields of all models, each with one that has it: that of a run, if it has."""
    models: list[type[PlaceSettings]] = [LabSettings, PlaceSettings]
    for model in models:  # which grows meanwhile
        models += model.__subclasses__()
    found: dict[str, type[PlaceSettings]] = {}
    for model in models:
        found |= {name: model for name in model.model_fields if name not in found}
    return found


def _file_settings() -> dict[str, Any]:
    """What robots.toml of this folder sets, by the names of the settings; empty when there is no such file. Raises
    UsageError."""
    path = Path(SETTINGS_FILE)
    table = read_toml(path, SETTINGS_FILE) if os.path.lexists(path) else {}
    if complaint := unknown_keys(table, setting_names()):
        raise UsageError(f"{SETTINGS_FILE}: {complaint}")
    return {key.replace("-", "_"): value for key, value in table.items()}
