"""A record, loaded to be judged: each file in its shape, or the reason why it is not. Judges nothing.

Access to a file that is missing or damaged raises EvidenceError with the reason, and the promise that needs it becomes
UNPROVEN. Damage to one row is damage to the file: the content of a missing row is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from telemetry.events import (
    InjectionFailed,
    ProcessStarted,
    RelayResumed,
    RobotWaiting,
    Stamped,
    WorkerGaveUp,
)
from telemetry.verdict.evidence.births import Births, births_of
from telemetry.verdict.evidence.fleet import Downtime, FleetEvidence, FleetRow, ms_of
from telemetry.verdict.evidence.integrity import loss, lost_evidence, tampering
from telemetry.verdict.evidence.journals import Life, RobotJournal, read_journals
from telemetry.verdict.evidence.schema import (
    WRITE_ID,
    AcceptedWrite,
    BirthStreamRow,
    BornRow,
    DealFile,
    FailureRow,
    FateRow,
    PlanRow,
    RedoRow,
    RegisterFile,
    SettingsFile,
    StreamsFile,
    shape_of,
)
from telemetry.verdict.evidence.traffic import Key, Traffic
from telemetry.verdict.finding import EvidenceError
from telemetry.verdict.recomputed.fates import Rulebook, Ruling
from telemetry.verdict.recomputed.fault_rules import number_of

_VALUES: dict[str, type[msgspec.Struct]] = {
    "settings": SettingsFile,
    "deal": DealFile,
    "register": RegisterFile,
    "streams": StreamsFile,
}
_ROWS = ("plan", "fates", "journals", "fleet", "events")

_BAD = (msgspec.MsgspecError, KeyError, TypeError, UnicodeError, RecursionError, ValueError)
"""The errors of content that does not fit its shape."""


@dataclass(frozen=True)
class Case:
    """The evidence. `record` is its folder as the caller named it; `secret` is secret.txt, if there is one.

    `damage`: by file (without suffix), what is wrong with it; `contents` holds the other files, in their shapes.
    `tampering`: which file is not as it was recorded; empty when all are, and for a case from memory.
    """

    record: str
    contents: Mapping[str, Any]
    damage: Mapping[str, str]
    secret: bytes | None
    tampering: str = ""

    @property
    def settings(self) -> SettingsFile:
        settings: SettingsFile = self._intact("settings")
        return settings

    @property
    def deal(self) -> DealFile:
        deal: DealFile = self._intact("deal")
        return deal

    @property
    def register(self) -> RegisterFile:
        register: RegisterFile = self._intact("register")
        return register

    @property
    def streams(self) -> StreamsFile:
        streams: StreamsFile = self._intact("streams")
        return streams

    @property
    def plan(self) -> list[PlanRow | BornRow]:
        rows: list[PlanRow | BornRow] = self._intact("plan")
        return rows

    @property
    def events(self) -> list[Stamped]:
        rows: list[Stamped] = self._intact("events")
        return rows

    @cached_property
    def journals(self) -> dict[str, RobotJournal]:
        """By robot."""
        return read_journals(self._intact("journals"))

    @cached_property
    def fleet(self) -> FleetEvidence:
        """Injections and deaths."""
        return FleetEvidence(self._intact("fleet"), self.failed_injections)

    @cached_property
    def failed_injections(self) -> frozenset[tuple[str, str]]:
        """Verb and target of the injections that the fleet log or an event reports as failed; a damaged file reports
        none."""
        events: list[Stamped] = self.contents.get("events", [])
        rows: list[FleetRow] = self.contents.get("fleet", [])
        reports = (stamped.event for stamped in events if isinstance(stamped.event, InjectionFailed))
        failures = (row for row in rows if isinstance(row, FailureRow))
        return frozenset(
            [(event.verb, event.target) for event in reports] + [(row.verb, row.target) for row in failures]
        )

    @cached_property
    def births(self) -> dict[str, Births]:
        """By robot, the births in its outbox."""
        return births_of(self.plan)

    @cached_property
    def downtimes(self) -> list[Downtime]:
        """When robots did not live, in the order of their deaths."""
        found = self.fleet.downtimes(self.births, self.traffic.last_sent_ms)
        return sorted(found, key=lambda downtime: downtime.deaths[0].at_ms)

    @cached_property
    def testimony(self) -> dict[Life, list[Stamped]]:
        """The robots' own events: by life that a journal has, in their order."""
        lives: dict[Life, list[Stamped]] = {
            (robot, life): [] for robot, journal in self.journals.items() for life in journal.lives
        }
        for stamped in self.events:
            of_life = lives.get((stamped.source, stamped.incarnation))
            if of_life is not None:
                of_life.append(stamped)
        for of_life in lives.values():
            of_life.sort(key=lambda stamped: stamped.number)
        return lives

    @cached_property
    def wait_reports_us(self) -> dict[str, list[int]]:
        """By robot, when it was reported to wait for an RQ worker (the reporter's wall clock), in order."""
        waits: dict[str, list[int]] = {}
        for stamped in self.events:
            if isinstance(stamped.event, RobotWaiting):
                waits.setdefault(stamped.event.robot, []).append(stamped.wall_us)
        return {robot: sorted(times_us) for robot, times_us in waits.items()}

    @cached_property
    def parts_in_wait(self) -> dict[str, tuple[int, ...]]:
        """By robot, the parts that no living robot held when it was last reported to wait."""
        reports = [
            (stamped.wall_us, stamped.event) for stamped in self.events if isinstance(stamped.event, RobotWaiting)
        ]
        return {event.robot: event.only_here for _, event in sorted(reports, key=lambda report: report[0])}

    @cached_property
    def given_up(self) -> frozenset[str]:
        """The robots and workers that events report as given up."""
        return frozenset(stamped.event.worker for stamped in self.events if isinstance(stamped.event, WorkerGaveUp))

    @cached_property
    def traffic(self) -> Traffic:
        """The fates, each entry once."""
        rows: list[FateRow | RedoRow] = self._intact("fates")
        return Traffic(rows)

    @cached_property
    def rulebook(self) -> Rulebook:
        """The plans and births that fates depend on."""
        return Rulebook(self.settings.seed, self.plan)

    @cached_property
    def rulings(self) -> dict[Key, Ruling]:
        """The recomputed fate of each envelope."""
        rule_on = self.rulebook.rule_on
        return {key: rule_on(key, row) for key, row in self.traffic.envelopes()}

    @cached_property
    def dealt_robots(self) -> list[str]:
        """The robots that the run began with; others joined later."""
        robots = self.settings.robots
        width = max(2, len(str(robots - 1)))
        return [f"r{number:0{width}d}" for number in range(robots)]

    @cached_property
    def joined_by_order(self) -> frozenset[str]:
        """The robots that joined by an order. Raises EvidenceError."""
        return frozenset(order.reason or "" for order in self.streams.orders if order.order == "joined")

    @cached_property
    def joined_robots(self) -> list[str]:
        """The robots that joined by an order or a journal, by number; where these differ, see checks/membership.py."""
        ordered = frozenset[str]() if "streams" in self.damage else self.joined_by_order
        came = {robot for robot, journal in self.journals.items() if journal.joined}
        numbers = {robot: number_of(robot) for robot in (ordered | came) - set(self.dealt_robots)}
        return [robot for number, robot in sorted((at, robot) for robot, at in numbers.items() if at is not None)]

    @property
    def members(self) -> list[str]:
        """All robots that the run had: dealt and joined."""
        return self.dealt_robots + self.joined_robots

    @property
    def ended_in_order(self) -> bool:
        """Whether the run ended as planned: neither interrupted nor lost."""
        return self.settings.ended in ("complete", "limit", "stopped") and not self.is_lost

    @cached_property
    def loss(self) -> str:
        """How the server lost data of the run; empty when nothing shows that it did."""
        return loss(self.contents)

    @property
    def is_lost(self) -> bool:
        """Whether the server came back older, or without the run."""
        return bool(self.loss)

    @cached_property
    def abandoned_shards(self) -> frozenset[int]:
        """The shards whose relay died out of order, and of which nothing shows that a later relay served them."""
        decided_ms: dict[int, int] = {}
        for shard, sent_ms, _ in self.traffic.entries:
            decided_ms[shard] = max(sent_ms, decided_ms.get(shard, 0))
        for stamped in self.events:
            match stamped.event:
                case ProcessStarted(process=name) if name.startswith("relay:") and name[6:].isdecimal():
                    shard = int(name[6:])
                case RelayResumed(shard=shard):
                    pass
                case _:
                    continue
            decided_ms[shard] = max(stamped.wall_us // 1000, decided_ms.get(shard, 0))
        deaths = self.fleet.relay_deaths_ms.items()
        return frozenset(shard for shard, died_ms in deaths if decided_ms.get(shard, 0) <= died_ms)

    @cached_property
    def shards(self) -> dict[str, int]:
        """The shard of each robot that was born, by its births in the outboxes."""
        return {control.robot: control.shard for control in self.plan if isinstance(control, BornRow)}

    @cached_property
    def attempts_of(self) -> dict[Life, list[BirthStreamRow]]:
        """The attempts to write, accepted or refused, by life, in order."""
        attempts: dict[Life, list[BirthStreamRow]] = {}
        for robot, rows in self.register.births.items():
            for row in rows:
                if row.entry == "attempt":
                    attempts.setdefault((robot, int(row.id.partition("-")[0])), []).append(row)
        return attempts

    @property
    def tries(self) -> set[Life]:
        """The lives that tried to write, with or without success."""
        return set(self.attempts_of)

    @property
    def write(self) -> AcceptedWrite:
        """The accepted write. Raises EvidenceError when there is none."""
        if not self.register.exists:
            raise EvidenceError("the register is gone: what was written into it cannot be known")
        if self.written is None:
            raise EvidenceError("nothing was written")
        return self.written

    @cached_property
    def written(self) -> AcceptedWrite | None:
        """The accepted write, if there is one: the entry that nothing can follow, or else a robot's first one."""
        last = [write for write in self.register.writes if write.id == WRITE_ID]
        return next(iter(last or self.robots_writes), None)

    @cached_property
    def robots_writes(self) -> list[AcceptedWrite]:
        """What robots of the run wrote into the register, in order."""
        return [write for write in self.register.writes if write.robot in self.register.births]

    @cached_property
    def attempts(self) -> list[BirthStreamRow]:
        """The attempts that the writer's own life made with the accepted write. Raises EvidenceError when none was."""
        write = self.write
        own = self.attempts_of.get((write.robot, write.incarnation), ())
        return [row for row in own if row.nonce == write.nonce]

    @property
    def attempted_us(self) -> int | None:
        """When the accepted write was attempted (server's clock, µs); None when not recorded. Raises EvidenceError."""
        return min((row.at_us for row in self.attempts if row.at_us is not None), default=None)

    def order_ms(self, order: str) -> int | None:
        """When `order` was first given (server's clock), if it was."""
        given = (int(row.id.partition("-")[0]) for row in self.streams.orders if row.order == order)
        return min(given, default=None)

    @cached_property
    def end_ms(self) -> int:
        """When the run ended (server's clock): at the order `stop`, else at its last envelope, injection or death."""
        stop_ms = self.order_ms("stop")
        if stop_ms is not None:
            return stop_ms
        return max([*self.traffic.last_sent_ms.values(), *(ms_of(row.id) for row in self.fleet.rows), 0])

    def _intact(self, name: str) -> Any:
        if name in self.damage:
            raise EvidenceError(self.damage[name])
        return self.contents[name]


def load(folder: Path, record: str | None = None) -> Case:
    """The case in `folder`, which the result names as `record`. Never raises: errors become damage."""
    files: dict[str, Any] = {}
    damage: dict[str, str] = {}
    for file, read in [(f"{name}.json", _value) for name in _VALUES] + [(f"{name}.jsonl", _rows) for name in _ROWS]:
        name = file.partition(".")[0]
        try:
            files[name] = read(folder / file)
        except FileNotFoundError:
            damage[name] = _missing(file)
        except OSError as error:
            damage[name] = f"{file} cannot be read: {error.strerror}"
        except _BAD as error:
            damage[name] = f"{file} is damaged: {error}"
    case = case_of(str(folder) if record is None else record, files, _secret(folder), damage)
    return replace(case, tampering=tampering(folder))


def _missing(file: str) -> str:
    return f"{file} is missing"


def _value(path: Path) -> Any:
    return msgspec.json.decode(path.read_bytes())


def _rows(path: Path) -> list[Any]:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        raise ValueError("its last line is cut short")
    decode = msgspec.json.Decoder().decode
    return [decode(line) for line in content.splitlines()]


def _secret(folder: Path) -> bytes | None:
    try:
        return (folder / "secret.txt").read_bytes()
    except OSError:
        return None


def case_of(
    record: str, files: Mapping[str, Any], secret: bytes | None, damage: Mapping[str, str] | None = None
) -> Case:
    """A case from values: `files` holds decoded JSON by file name without suffix, `damage` why a file has none."""
    contents: dict[str, Any] = {}
    damaged = dict(damage or {})
    for name in (*_VALUES, *_ROWS):
        file = f"{name}.json" if name in _VALUES else f"{name}.jsonl"
        if name in damaged:
            continue
        if name not in files:
            damaged[name] = _missing(file)
            continue
        try:
            shape = _VALUES.get(name)
            contents[name] = _rows_in_shape(name, files[name]) if shape is None else _in_shape(files[name], shape)
        except _BAD as error:
            damaged[name] = f"{file} is damaged: {error}"
    return Case(record, contents, damaged | lost_evidence(contents), secret)


def _in_shape(value: Any, shape: type[msgspec.Struct]) -> msgspec.Struct:
    return msgspec.convert(value, shape, str_keys=True)


def _rows_in_shape(name: str, rows: Iterable[Any]) -> list[msgspec.Struct]:
    shaped: list[msgspec.Struct] = []
    for row in rows:
        try:
            shaped.append(msgspec.convert(row, shape_of(name, row)))
        except _BAD as error:
            raise ValueError(f"line {len(shaped) + 1}: {error}") from None
    return shaped
