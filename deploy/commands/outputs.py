"""What the commands print with `--json`, typed: one object on one line. Little but shapes lives here.

The result of a run has its shape where it is judged (telemetry/verdict/judge.py), an event in telemetry/events.py.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from deploy.attach.processes import ProcessSeen
from deploy.commands.output import json_line
from deploy.doctor.check import Check
from deploy.rq.observed import State


def answer_line(answer: msgspec.Struct) -> str:
    """One object on one line."""
    return json_line(msgspec.to_builtins(answer))


class DealtRun(msgspec.Struct, frozen=True):
    """`robots deal`: a run that was dealt, with so many `robots` and `parts`. With `closed` no robot may join. `live`:
    the other runs that go on there; `free`: how many RQ workers were idle; `start`: how many more are needed, so that
    each robot has one."""

    run: str
    robots: int
    parts: int
    seed: int
    closed: bool
    live: list[str]
    free: int
    start: int


class RobotStatus(msgspec.Struct, frozen=True):
    """A `robot`, and its `state`. `incarnation` is its last life, and so the number of its lives (0: none yet); `parts`
    counts those in its journal. `worker` (RQ's name), `pid` and `host` are of the process that runs it, which last beat
    `beat_s` ago; its lease goes on for `lease_left_s`. Of its `deaths` those that the lab did not inject are `charged`;
    `budget_left` counts the deaths that the policy allows in its window from now on. The robot waits or is
    lost, and no living one holds the parts `only_here`."""

    robot: str
    state: State | Literal["paused"]
    incarnation: int
    parts: int
    worker: str
    pid: int | None
    host: str
    beat_s: float | None
    lease_left_s: float | None
    deaths: int
    charged: int
    budget_left: int
    only_here: list[int]


class RunningRobots(msgspec.Struct, frozen=True):
    """`robots ps`: a run, its `state` (waiting for go, held back: waits for go, live, or how it ended), its `robots`,
    and its other `processes`: relays, supervisor, server. With `closed` no robot may join. On the server there are so
    many RQ `workers`, and so many of them are `free`."""

    run: str
    state: str
    closed: bool
    robots: list[RobotStatus]
    processes: list[ProcessSeen]
    workers: int
    free: int


class RecordedRun(msgspec.Struct, frozen=True):
    """A run. `state` is live, held back: waits for go, unreachable (its live.json cannot be used), unfinished (it
    neither ended nor goes on), or how it ended; `age_s` counts from the deal. Null is what cannot be read: `mode`,
    `robots`, `seed`, `verdict`."""

    run: str
    mode: str | None
    state: str
    robots: int | None
    seed: int | None
    verdict: str | None
    age_s: float


class RecordedRuns(msgspec.Struct, frozen=True):
    """`robots runs`: the recorded `runs`, the newest first."""

    runs: list[RecordedRun]


class ServerRun(msgspec.Struct, frozen=True):
    """A run on a server. `state` is waiting for go, held back: waits for go, live, or how it ended; `age_s` counts from
    the deal. It has so many `robots`, and lacks RQ workers for so many of them (`lacks`; null: no supervisor knows). Of
    its `shards`, `relays` have a relay. With `closed` no robot may join."""

    run: str
    state: str
    robots: int
    lacks: int | None
    closed: bool
    age_s: float
    supervisor: ProcessSeen
    relays: int
    shards: int


class ServerRuns(msgspec.Struct, frozen=True):
    """`robots runs --redis-url`: the `runs` that a server holds, the newest first; how many RQ `workers` for robots it
    has, and how many of them are `free`."""

    runs: list[ServerRun]
    workers: int
    free: int


class PrunedRun(msgspec.Struct, frozen=True):
    """A `run` that was removed from a server, and why."""

    run: str
    reason: str


class PrunedLeftovers(msgspec.Struct, frozen=True):
    """`robots runs --prune`: what was removed: `runs` and the names of dead RQ `workers` from the server; drafts and
    live.json files among the `records`; `folders` of dead servers and runs. `kept` are the runs that the server still
    holds. Of a server that could not be pruned (exit code 4) nothing is listed."""

    runs: list[PrunedRun]
    workers: list[str]
    kept: list[str]
    records: list[str]
    folders: list[str]


class FaultInForce(msgspec.Struct, frozen=True):
    """A `fault`, as its text, and the number of its dice (`instance`)."""

    instance: int
    fault: str


class StandingFault(msgspec.Struct, frozen=True):
    """A `fault` that is in force: the number of its dice (`instance`), since when, in seconds after go (`since_s`, null
    is the deal), and at which `relays`."""

    instance: int
    fault: str
    since_s: float | None
    relays: list[int]


class ChangeToCome(msgspec.Struct, frozen=True):
    """What the plan will change `at_s` seconds after go: faults that `begin`, and faults that `end`."""

    at_s: float
    begin: list[FaultInForce]
    end: list[FaultInForce]


class FaultPlanStatus(msgspec.Struct, frozen=True):
    """`robots faults show`: `now_s` seconds after go (null: before it), the number of `relays`, why the run was stopped
    (`stop`), the faults that are `in_force`, and the changes `to_come` (null: not known on this host)."""

    run: str
    now_s: float | None
    relays: int
    stop: str | None
    in_force: list[StandingFault]
    to_come: list[ChangeToCome] | None


class FaultToCome(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `fault` that begins `in_s` seconds from now; `instance` is the number of its dice, where it has one already."""

    fault: str
    in_s: float
    instance: int | None = None


class FaultPlanAnswer(msgspec.Struct, frozen=True):
    """`robots faults set`, `clear` and `heal`: the answer to the `request` of that id. The faults of before (`old`) and
    of now (`new`), in force at so many `relays` (0: it concerned process faults alone) after so many `seconds`; and
    what is dated `to_come` (null: not known on this host)."""

    run: str
    request: str
    old: list[FaultInForce]
    new: list[FaultInForce]
    relays: int
    seconds: float
    to_come: list[FaultToCome] | None


class InjectionAnswer(msgspec.Struct, frozen=True):
    """`robots kill`, `pause` and the like: what was `asked` for by the `request` of that id, and how many `seconds` it
    took. Once it is done: its `victim`, and whether it `died` (null: no death follows). Before go it is only accepted,
    and these two are absent."""

    run: str
    request: str
    asked: str
    seconds: float
    victim: str | msgspec.UnsetType = msgspec.UNSET
    died: bool | msgspec.UnsetType | None = msgspec.UNSET


class EffectiveSetting(msgspec.Struct, frozen=True):
    """A setting by its `name` in robots.toml. Its `value` is a time with its unit, a text without its secrets, or null
    when it has none, or is decided later. `source` is where it comes from: a flag, a variable, a key of robots.toml,
    the record, the exhibit, or `default`."""

    name: str
    value: bool | int | str | list[str] | None
    source: str


class EffectiveSettings(msgspec.Struct, frozen=True):
    """`robots config`: all `settings`, as they are in force here."""

    settings: list[EffectiveSetting]


class Examination(msgspec.Struct, frozen=True):
    """`robots doctor`: the `checks`, for a run of so many `robots`. `usable` is whether such a run works here, as far
    as was checked; null when something that may stop it is not known."""

    robots: int
    usable: bool | None
    checks: list[Check]


class RunStory(msgspec.Struct, frozen=True):
    """`robots replay`: a story, one a line, in the order of their times: it began `at_s` seconds after go (before it:
    less than 0), is `about` these processes, and good, bad, or just news (`tone`)."""

    at_s: float
    text: str
    about: tuple[str, ...]
    tone: Literal["news", "good", "bad"]
