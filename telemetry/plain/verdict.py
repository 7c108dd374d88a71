"""A verdict as lines: what does not hold comes first, and all of it fits a small terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from telemetry.console import harmless
from telemetry.explanations.robot_figures import RobotFigures, slowest
from telemetry.phrases import counted
from telemetry.plain.wrapping import wrapped, wrapped_command

Result = Mapping[str, Any]

WIDTH: Final = 80
MOST_ROBOTS: Final = 25
"""Of more robots than these only the slowest are listed."""

_SLOWEST: Final = 5
_MOST_SECRET: Final = 60  # characters
_HEAD: Final = ("robots", "complete", "lives", "sent", "lost", "last taught by")


class Beside(msgspec.Struct, frozen=True):
    """What stands beside a result for people: why the run was not done at its end, the secret that was written, and
    its robots."""

    diagnosis: Sequence[str] = ()
    secret: bytes | None = None
    robots: Sequence[RobotFigures] = ()


def verdict_lines(
    result: Result, beside: Beside | None = None, *, is_verbose: bool = False, width: int = WIDTH
) -> Iterator[str]:
    """The verdict with the main figures. With `is_verbose`, why each promise holds, and all of each fault."""
    beside = beside or Beside()
    yield from wrapped(f"{result['verdict']}  ", f"run {result['run']}  {_headline(result)}", width)
    for label, text in _parts(result, beside, is_verbose):
        if label == "again":
            yield from wrapped_command(labelled(label), harmless(text), width)
        else:
            yield from wrapped(labelled(label), harmless(text), width)
        if label == "secret":
            yield from _table(beside.robots)


def _parts(result: Result, beside: Beside, is_verbose: bool) -> Iterator[tuple[str, str]]:
    """Each with its label."""
    yield from _promises(result, "BROKEN")
    yield from _unproven(result)
    yield from (("not done", cause) for cause in beside.diagnosis)
    yield from _promises(result, "HELD") if is_verbose else _held(result)
    yield "secret", _secret_text(result, beside.secret)
    yield from _figures(result)
    yield from _faults_verbose(result) if is_verbose else _faults(result)
    yield "record", str(result["record"])
    if result["again"]:
        yield "again", result["again"]


def labelled(label: str, text: str = "") -> str:
    """A line below a verdict."""
    return f"  {label:<12}{text}"


def _headline(result: Result) -> str:
    if result["winner"] is None and result["ended"] == "lost":
        return "what was written is not known (ended: lost)"
    if result["winner"] is None:
        return f"nothing was written (ended: {result['ended'] or 'never, or not yet'})"
    life = result["winner_incarnation"]
    return f"{result['winner']} (life {life}) wrote the secret {_seconds(result, 'written')} after go"


def _promises(result: Result, state: str) -> Iterator[tuple[str, str]]:
    """Those of that state, each with why."""
    for name, finding in result["promises"].items():
        if finding["state"] == state:
            is_untested = state == "HELD" and not finding["tested"]
            yield "not tested" if is_untested else state, f"{name}: {finding['why']}"


def _unproven(result: Result) -> Iterator[tuple[str, str]]:
    """Those that are unproven, with why; for the same reason together."""
    whys: dict[str, list[str]] = {}
    for name, finding in result["promises"].items():
        if finding["state"] == "UNPROVEN":
            whys.setdefault(finding["why"], []).append(name)
    yield from (("UNPROVEN", f"{', '.join(names)}: {why}") for why, names in whys.items())


def _held(result: Result) -> Iterator[tuple[str, str]]:
    """All that hold, in one line."""
    held = {name: finding["tested"] for name, finding in result["promises"].items() if finding["state"] == "HELD"}
    tested = [name for name, times in held.items() if times]
    untested = ", ".join(name for name, times in held.items() if not times)
    if tested:
        yield "HELD", f"{counted(len(tested), 'promise')}: {', '.join(tested)}"
    if untested:
        yield "not tested", untested


def _secret_text(result: Result, secret: bytes | None) -> str:
    if secret is None:
        return "none was written" if result["winner"] is None else "it is not in the record"
    text = secret.decode(errors="replace")
    return harmless(text[:_MOST_SECRET]) + "…" * (len(text) > _MOST_SECRET)


def _table(robots: Sequence[RobotFigures]) -> Iterator[str]:
    """One line for each robot, or for the slowest of many."""
    if not robots:
        return
    listed = robots if len(robots) <= MOST_ROBOTS else slowest(robots, _SLOWEST)
    yield _row(*_HEAD)
    for each in listed:
        complete = "-" if each.complete_s is None else f"{each.complete_s:.3f} s"
        yield _row(harmless(each.robot), complete, each.lives, each.sent, each.lost, harmless(each.taught_by) or "-")
    if len(listed) < len(robots):
        yield f"  … the slowest {len(listed)} of {len(robots)} robots"


def _row(robot: str, complete: str, lives: object, sent: object, lost: object, taught_by: str) -> str:
    return f"{labelled(robot)}{complete:<12}{lives:<8}{sent:<8}{lost:<8}{taught_by}"


def _seconds(result: Result, name: str) -> str:
    value = result["seconds"][name]
    return "-" if value is None else f"{value:.2f} s"


def _figures(result: Result) -> Iterator[tuple[str, str]]:
    first, last = _seconds(result, "first_complete"), _seconds(result, "all_complete")
    complete = f"complete {first} to {last} after go"
    if last == "-":
        complete = "no robot complete" if first == "-" else f"first complete {first} after go, never all"
    yield "times", f"born {_seconds(result, 'born')}, {complete}, whole run {_seconds(result, 'total')}"
    messages = result["until_complete"]["messages"]
    if messages["sent"] is not None:
        kinds = ("lost", "duplicated", "delayed", "reordered", "corrupted")
        fates = ", ".join(f"{messages[kind]} {kind}" for kind in kinds if messages[kind])
        when = "in all" if result["seconds"]["all_complete"] is None else "until all were complete"
        sent = f"{counted(messages['sent'], 'envelope')} {when}, {messages['per_robot']} a robot"
        yield "network", f"{sent}: {fates}" if fates else sent
    yield from _lives(result["whole_run"])


def _lives(whole: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if whole["joined"]:
        yield "joined", ", ".join(whole["joined"])
    recoveries, repeated = whole["recoveries"], whole["repeated"]
    lives = [counted(whole["restarts"], "restart")] if whole["restarts"] else []
    if recoveries and recoveries["count"]:
        count = counted(recoveries["count"], "recovery", "recoveries")
        lives.append(f"{count}, median {recoveries['p50_s']:.2f} s, longest {recoveries['max_s']:.2f} s")
    if lives:
        yield "lives", "; ".join(lives)
    if repeated and repeated["redone"]:
        redone = counted(repeated["redone"], "envelope")
        copies = counted(repeated["copies"], "copy", "copies")
        yield "relays", f"successors decided {redone} again; {copies} came again"
    if whole["refused"]:
        yield "refused", f"{counted(whole['refused'], 'entry', 'entries')} of outboxes: no envelopes"


def _faults(result: Result) -> Iterator[tuple[str, str]]:
    faults = result["whole_run"]["faults"]
    if faults:
        acted = (f"{each['name']} {each['set']} on {each['injected']} of {each['offered']}" for each in faults)
        yield "faults", f"acted: {', '.join(acted)}"


def _faults_verbose(result: Result) -> Iterator[tuple[str, str]]:
    for fault in result["whole_run"]["faults"]:
        band = fault["band"] and f", 95% band {fault['band'][0]:.1%}..{fault['band'][1]:.1%}"
        rate = "-" if fault["rate"] is None else f"{fault['rate']:.1%}{band or ''}"
        yield "fault", f"{fault['name']} {fault['set']} acted on {fault['injected']} of {fault['offered']} ({rate})"
