"""Why a robot wrote the secret, or did not: complete, quiet, confirmed by a peer, and the first at the register."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import ceil

from telemetry.events import (
    EvidenceLost,
    ExchangeEnded,
    PartsMerged,
    RobotComplete,
    RobotDisturbed,
    RobotQuiet,
    SecretRefused,
    SecretWritten,
    Stamped,
    TicksExecuted,
)
from telemetry.explanations.explanation import Step
from telemetry.explanations.lives import state_at_the_end
from telemetry.explanations.run_index import RunIndex
from telemetry.phrases import counted, named_parts, seconds


def why_written(index: RunIndex, robot: str) -> str:
    """Whether the robot wrote, and why not, as a sentence about it."""
    write = index.write
    own = next(index.reported(robot, SecretWritten), None)
    if own is not None:
        return f"it wrote the secret {index.after_go_s(own.wall_us):.2f} s after go"
    refused = next(index.reported(robot, SecretRefused), None)
    if refused is not None:
        return f"it tried to write, and was refused: {_first(write, refused.wall_us)}"
    if any(event.event.stream == "register" for event in index.reported(robot, EvidenceLost)):  # type: ignore[union-attr]
        return "it could not write: the register was gone"
    if index.robots[robot].is_lost:
        return "it has not written"
    if not index.is_complete(robot):
        return "it has not written, because it is not complete"
    return f"it has not written: {_why_not_quiet(index, robot, write)}"


def writing_steps(index: RunIndex, robot: str) -> Iterator[Step]:
    """What led to its write, or should have: complete, quiet, disturbed, written, refused. Nothing for a robot that is
    not complete."""
    if not index.is_complete(robot):
        return
    for stamped in index.reported(
        robot, RobotComplete, RobotQuiet, RobotDisturbed, SecretWritten, SecretRefused, EvidenceLost
    ):
        text = _text(index, robot, stamped)
        if text:
            yield Step(text, index.after_go_s(stamped.wall_us), robot=robot, life=stamped.incarnation)


def quiet_ticks(index: RunIndex) -> int:
    """How many ticks without news a quiet period takes."""
    return ceil(index.history.settings.quiet_period_us / index.tick_us)


def _text(index: RunIndex, robot: str, stamped: Stamped) -> str:
    match stamped.event:
        case RobotComplete(parts):
            return f"{robot} was complete: it held all {parts} parts"
        case RobotQuiet(ticks):
            ended = confirmed(index, robot, stamped) + _incomplete(index, robot, stamped)
            return f"{robot} was quiet: it had executed {ticks} ticks without news{ended}"
        case RobotDisturbed():
            return f"{robot} was disturbed: {_disturbance(index, robot, stamped)}"
        case SecretWritten(_, durability):
            return f"{robot} wrote the secret (durability: {durability})"
        case SecretRefused():
            return f"{robot} tried to write, and the register refused it: it held a secret already"
        case EvidenceLost("register"):
            return f"{robot} found that the register was gone"
    return ""


def _incomplete(index: RunIndex, robot: str, quiet: Stamped) -> str:
    completed_us = index.completed_us(robot)
    return ", but it was not complete yet" if completed_us is not None and quiet.wall_us < completed_us else ""


def confirmed(index: RunIndex, robot: str, quiet: Stamped) -> str:
    """What ended the quiet period, by the journal: `, and a peer answered …`; empty when no entry shows it. A robot
    that is not complete reports to be quiet, and makes no entry."""
    rows = (row for row in index.robots[robot].quiets if row.id.startswith(f"{quiet.incarnation}-"))
    row = next((row for row in rows if abs(row.at_us - quiet.wall_us) < index.tick_us), None)
    if row is None:
        return ""
    if row.exchange:
        return f", and a peer answered that it knows the same (exchange {row.exchange})"
    ended = [each.event for each in index.reported(robot, ExchangeEnded) if each.wall_us <= quiet.wall_us]
    silent = sum(isinstance(event, ExchangeEnded) and event.outcome == "timeout" for event in ended)
    if not ended:
        return ", and believed no peer alive"
    exchanges = counted(len(ended), "exchange")
    return f", and believed no peer alive: of {exchanges} that it had begun and that were over, {silent} got no answer"


def _disturbance(index: RunIndex, robot: str, disturbed: Stamped) -> str:
    """When the news came that ended a quiet period: a robot notices it at its next tick."""
    merges = (each.wall_us for each in index.reported(robot, PartsMerged) if each.wall_us <= disturbed.wall_us)
    merged_us = max(merges, default=None)
    if merged_us is None:
        return "which merge ended its quiet period is not known"
    merged_s = index.after_go_s(merged_us)
    return f"what it had merged by {merged_s:.3f} s ended its quiet period, and it noticed that at this tick"


def _first(write: Stamped | None, at_us: int) -> str:
    if write is None:
        return "the register held a secret already, and its writer did not live to report it"
    return f"{write.source} was first, {seconds(max(0, at_us - write.wall_us))} before"


def _why_not_quiet(index: RunIndex, robot: str, write: Stamped | None) -> str:
    state = state_at_the_end(index, robot)
    completed_us = index.completed_us(robot)
    if state != "lived":
        return f"it {state}"
    if index.robots[robot].quiets:
        return "it was quiet, and its attempt to write had no result yet"
    born_us = max((at_us for at_us in index.births_us.get(robot, {}).values() if at_us <= index.end_us), default=0)
    since_us = max(completed_us or 0, born_us, index.go_us or 0)
    had_us, needed = index.end_us - since_us, quiet_ticks(index)
    who = "its last life" if born_us > (completed_us or 0) else "it"
    if write is not None and had_us < needed * index.tick_us * 6 // 5:
        return (
            f"{who} was complete for only {seconds(had_us)} when the run ended, and must be quiet for {needed}"
            f" ticks ({seconds(needed * index.tick_us)}) first; {write.source} wrote the secret"
        )
    for cause in index.diagnosis:
        if cause.key == f"unconfirmed {robot}":
            return cause.text.partition(": ")[2] + ", so no peer could confirm that it knows the same"
    return _why_unconfirmed(index, robot, since_us, needed)


def _why_unconfirmed(index: RunIndex, robot: str, since_us: int, needed: int) -> str:
    ended = [stamped.event for stamped in index.reported(robot, ExchangeEnded) if stamped.wall_us >= since_us]
    outcomes = Counter(event.outcome for event in ended if isinstance(event, ExchangeEnded))
    ticks = sum(
        stamped.event.ticks
        for stamped in index.reported(robot, TicksExecuted)
        if isinstance(stamped.event, TicksExecuted) and stamped.wall_us >= since_us
    )
    if ticks < needed:
        return f"it executed only about {ticks} ticks since it was complete, and needs {needed} without news"
    if not outcomes["equal"]:
        return (
            "no peer has answered that it knows the same: of its"
            f" {counted(len(ended), 'exchange')} since it was complete {outcomes['timeout']} got no answer"
        )
    return f"it has executed {ticks} ticks since it was complete, and has not reported to be quiet"


def lack_text(index: RunIndex, robot: str) -> str:
    """`lacks parts 4, 7 of 11`."""
    return f"lacks {named_parts(index.lacking(robot))} of {len(index.everything)}"
