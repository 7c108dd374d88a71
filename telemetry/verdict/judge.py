"""The judge: every promise against one case, and the result for people and programs.

A check that cannot be finished makes its promise UNPROVEN: never HELD, and never a traceback. In a record that was
changed afterwards HELD becomes UNPROVEN, and BROKEN stays. What a lost run left convicts only by what stands there:
robots are not guilty of what their server forgot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import asdict, replace

from telemetry.verdict import figures
from telemetry.verdict.case import Case
from telemetry.verdict.evidence.integrity import LOST
from telemetry.verdict.figures import FaultFigure, Messages, Recoveries, Repeated, Rounds, Seconds, known
from telemetry.verdict.finding import EvidenceError, Finding, State, unproven
from telemetry.verdict.promises.accounted import accounted
from telemetry.verdict.promises.convergent import convergent
from telemetry.verdict.promises.fenced import fenced
from telemetry.verdict.promises.frugal import frugal
from telemetry.verdict.promises.honest_faults import honest_faults
from telemetry.verdict.promises.idempotent import idempotent
from telemetry.verdict.promises.monotonic import monotonic
from telemetry.verdict.promises.once import once
from telemetry.verdict.promises.patient import patient
from telemetry.verdict.promises.played import played
from telemetry.verdict.promises.right import right
from telemetry.verdict.promises.supervised import supervised
from telemetry.verdict.promises.unique import unique

SCHEMA: Final = "robots.result/2"

PROMISES: Final[dict[str, Callable[[Case], Finding]]] = {
    "once": once,
    "right": right,
    "monotonic": monotonic,
    "unique": unique,
    "idempotent": idempotent,
    "patient": patient,
    "convergent": convergent,
    "supervised": supervised,
    "fenced": fenced,
    "frugal": frugal,
    "honest faults": honest_faults,
    "accounted": accounted,
    "played": played,
}

EXIT_CODES: Final[dict[State, int]] = {"HELD": 0, "BROKEN": 1, "UNPROVEN": 3}


class Promise(msgspec.Struct, frozen=True):
    """A promise's state, and why, in one line; and how many things put it to the test: attempts to write (once,
    patient), the write (right), journal entries (monotonic), parts, and contradictory updates that were injected
    (unique), merges (idempotent), robots (convergent), deaths and crashes (supervised), later lives (fenced), answers
    and updates (frugal), envelopes (honest faults, accounted), faults and injections that were due (played)."""

    state: State
    why: str
    tested: int


class Result(msgspec.Struct, frozen=True):
    """The result of a run, as `--json` prints it."""

    schema: str
    version: str | None
    run: str | None
    verdict: State
    promises: dict[str, Promise]
    ended: str | None
    robots: int | None
    parts: int | None
    seed: int | None
    preset: str | None
    plan: tuple[str, ...] | None
    winner: str | None
    winner_incarnation: int | None
    seconds: Seconds
    rounds: Rounds
    messages: Messages
    model_bytes_per_robot: float | None
    wire_bytes_per_robot: float | None
    faults: list[FaultFigure]
    repeated: Repeated | None
    restarts: int | None
    recoveries: Recoveries | None
    lives: dict[str, int] | None
    joined: list[str] | None
    record: str
    again: str | None

    @property
    def exit_code(self) -> int:
        """0 all HELD, 1 something BROKEN, 3 UNPROVEN."""
        return EXIT_CODES[self.verdict]

    @property
    def json(self) -> dict[str, Any]:
        """The result in JSON's own types, keys in their order."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result


def judge(case: Case) -> Result:
    """The result of a case. Never raises on account of the record."""
    findings = {name: _as_recorded(_checked(promise, case), case) for name, promise in PROMISES.items()}
    settings: dict[str, Any] = known(lambda: asdict(case.settings)) or {}
    write: dict[str, Any] = known(lambda: asdict(case.write)) or {}
    messages, model_bytes, wire_bytes = known(lambda: figures.messages(case)) or (Messages(), None, None)
    return Result(
        schema=SCHEMA,
        version=settings.get("version"),
        run=settings.get("run"),
        verdict=_overall(findings),
        promises={name: Promise(finding.state, finding.text, finding.tested) for name, finding in findings.items()},
        ended=settings.get("ended"),
        robots=settings.get("robots"),
        parts=known(lambda: case.deal.parts),
        seed=settings.get("seed"),
        preset=settings.get("preset"),
        plan=settings.get("plan"),
        winner=write.get("robot"),
        winner_incarnation=write.get("incarnation"),
        seconds=figures.seconds(case),
        rounds=figures.rounds(case),
        messages=messages,
        model_bytes_per_robot=model_bytes,
        wire_bytes_per_robot=wire_bytes,
        faults=known(lambda: figures.faults(case)) or [],
        repeated=known(lambda: figures.repeated(case)),
        restarts=known(lambda: figures.restarts(case)),
        recoveries=known(lambda: figures.recoveries(case)),
        lives=known(lambda: figures.lives(case)),
        joined=known(lambda: case.joined_robots),
        record=case.record,
        again=settings.get("again"),
    )


def _checked(promise: Callable[[Case], Finding], case: Case) -> Finding:
    try:
        return promise(case)
    except EvidenceError as reason:
        return unproven(str(reason))
    except Exception as error:  # a check that crashes has shown nothing
        return unproven(f"the check crashed: {type(error).__name__}: {error}")


def _as_recorded(finding: Finding, case: Case) -> Finding:
    """The finding, or why the record cannot show it: it was changed, or its run was lost."""
    if finding.state == "HELD" and case.tampering:
        return replace(finding, state="UNPROVEN", why=case.tampering)
    if not case.is_lost or finding.lasting or finding.text.startswith(LOST):
        return finding
    why = case.loss if finding.state == "HELD" else f"{case.loss}; {finding.text}"
    return replace(finding, state="UNPROVEN", why=why, witness="")


def _overall(findings: dict[str, Finding]) -> State:
    states = {finding.state for finding in findings.values()}
    for state in ("BROKEN", "UNPROVEN"):
        if state in states:
            return state
    return "HELD"
