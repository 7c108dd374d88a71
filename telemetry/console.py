"""Lines of plain text for people: progress, notable events, the result. Pure: values in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from telemetry.events import (
    AnomalyBegan,
    InvariantViolated,
    PlanChanged,
    RelayMissing,
    RelayResumed,
    RobotBorn,
    RobotWaiting,
    RobotYielded,
    Stamped,
    SupervisorBegan,
    event_name,
)
from telemetry.view import View

Result = Mapping[str, Any]
_MOST_DETAIL: Final = 120  # characters of an event's own fields in a line
_MOST_PARTS: Final = 10  # of those that a robot which waits alone holds
_MOST_SHOWN: Final = 240  # characters of a text from outside


def progress_line(view: View, elapsed_s: float) -> str:
    """The state of the run."""
    if view.started_us is None:
        return f"{elapsed_s:6.1f}s  born {view.born}/{view.dealt}"
    loss = f"  lost {view.lost / view.offered:.0%}" if view.offered else ""
    written = f"  written by {view.writer}" if view.writer else ""
    return (
        f"{elapsed_s:6.1f}s  parts {view.share:.0%}  complete {view.complete}/{view.dealt + view.joined}"
        f"  envelopes {view.offered}{loss}{written}"
    )


def absence_line(away_s: float, elapsed_s: float) -> str:
    """Why the state of the run is not known."""
    return f"{elapsed_s:6.1f}s  the server does not answer, for {away_s:.0f} s now"


def is_notable(stamped: Stamped) -> bool:
    """Whether a person should see the event at once: events that are notable by their kind, every life after the first,
    and the plan as relay 0 applies it (all apply the same)."""
    match stamped.event:
        case RobotBorn():
            return stamped.incarnation > 1
        case PlanChanged(shard):
            return shard == 0
        case RobotWaiting(waited_s=waited_s):
            return waited_s == 0
        case SupervisorBegan(is_successor):
            return is_successor
        case RelayResumed(pending=pending):
            return pending > 0 or stamped.source.startswith("standby:")
    return stamped.event.notable


def event_line(stamped: Stamped, elapsed_s: float) -> str:
    """A notable event, with its time."""
    return f"{elapsed_s:6.1f}s  {harmless(event_text(stamped))}"


def event_text(stamped: Stamped) -> str:
    """An event."""
    match stamped.event:
        case PlanChanged():
            return _plan_line(stamped.event)
        case RobotWaiting(robot, only_here):
            return f"{robot} waits: no RQ worker is free{_rare(only_here)}"
        case RobotYielded(robot, to):
            return f"{robot} gives way to {to}, which holds what no living robot does"
        case SupervisorBegan():
            return f"{stamped.source} supervises the run from here on"
        case AnomalyBegan(rule, about, detail):
            return f"anomaly: {rule}: {about}: {detail}"
        case RelayMissing(shard):
            return f"shard {shard} has no relay: what is sent there waits (robots relay)"
        case InvariantViolated(invariant, why, index, sender, sender_life):
            own = f"{stamped.source}/{stamped.incarnation}" if stamped.incarnation > 1 else stamped.source
            return f"{own} refused part {index} of {sender}/{sender_life}, which breaks `{invariant}`: {why}"
    fields = msgspec.to_builtins(stamped.event)
    fields.pop("name")
    detail = " ".join(f"{name} {_shown(value)}" for name, value in fields.items())
    if len(detail) > _MOST_DETAIL:
        detail = f"{detail[:_MOST_DETAIL].rstrip('0123456789')}…"  # a number that is cut would be another number
    life = f"/{stamped.incarnation}" if stamped.incarnation > 1 else ""
    return f"{stamped.source}{life} {event_name(stamped.event)} {detail}".rstrip()


def _rare(parts: tuple[int, ...]) -> str:
    """The parts that cannot be learnt while a robot waits."""
    if not parts:
        return ""
    more = f" and {len(parts) - _MOST_PARTS} more" * (len(parts) > _MOST_PARTS)
    return f"; no living robot holds part{'s' * (len(parts) > 1)} {', '.join(map(str, parts[:_MOST_PARTS]))}{more}"


def _plan_line(change: PlanChanged) -> str:
    """What is new in a plan and what is gone, or all of it if nothing stays."""
    gone = [f"− {fault}" for fault in change.old if fault not in change.new]
    new = [f"+ {fault}" for fault in change.new if fault not in change.old]
    stays = set(change.old) & set(change.new)
    changes = ", ".join(gone + new if stays else change.new) or ("as before" if stays else "calm")
    if change.refusal:
        return f"plan: as before  (refused: {printable(change.request)}: {printable(change.refusal)})"
    return f"plan: {changes}" + (f"  (asked: {printable(change.request)})" if change.request else "")


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def printable(text: str) -> str:
    """A text from outside, on one line and harmless to a terminal: cut to a length that can be read, and with every
    unprintable character escaped."""
    return harmless(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")


def harmless(text: str) -> str:
    """The whole text on one line, with every unprintable character escaped."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def verdict_lines(result: Result, diagnosis: Iterable[str] = ()) -> Iterator[str]:
    """The verdict, with one line per promise and the main figures. `diagnosis`: why the run was not done at its end."""
    yield f"{result['verdict']}  run {result['run']}  {_headline(result)}"
    for cause in diagnosis:
        yield f"  {'not done':<10}  {printable(cause)}"
    width = max(map(len, result["promises"]), default=0)
    for name, finding in result["promises"].items():
        is_untested = finding["state"] == "HELD" and not finding["tested"]
        state = "not tested" if is_untested else finding["state"]
        yield f"  {state:<10}  {name:<{width}}  {finding['why']}"
    yield from _figures(result)


def _headline(result: Result) -> str:
    if result["winner"] is None and result["ended"] == "lost":
        return "what was written is not known (ended: lost)"
    if result["winner"] is None:
        return f"nothing was written (ended: {result['ended'] or 'never, or not yet'})"
    life = result["winner_incarnation"]
    return f"{result['winner']} (life {life}) wrote the secret {_seconds(result, 'written')} after go"


def _seconds(result: Result, name: str) -> str:
    value = result["seconds"][name]
    return "-" if value is None else f"{value:.2f} s"


def _figures(result: Result) -> Iterator[str]:
    messages, whole = result["until_complete"]["messages"], result["whole_run"]
    yield (
        f"  born {_seconds(result, 'born')}  first complete {_seconds(result, 'first_complete')}"
        f"  all complete {_seconds(result, 'all_complete')}  total {_seconds(result, 'total')}"
    )
    if messages["sent"] is not None:
        yield (
            f"  until all were complete: envelopes {messages['sent']} ({messages['per_robot']} a robot),"
            f" lost {messages['lost']}, duplicated {messages['duplicated']}, delayed {messages['delayed']},"
            f" reordered {messages['reordered']}, corrupted {messages['corrupted']}"
        )
    if whole["joined"]:
        yield f"  joined: {', '.join(whole['joined'])}"
    if whole["restarts"]:
        yield f"  restarts {whole['restarts']}"
    recoveries = whole["recoveries"]
    if recoveries and recoveries["count"]:
        yield (
            f"  recoveries {recoveries['count']}"
            f" (median {recoveries['p50_s']:.2f} s, longest {recoveries['max_s']:.2f} s)"
        )
    repeated = whole["repeated"]
    if repeated and repeated["redone"]:
        yield f"  takeovers of relays: entries redone {repeated['redone']}, copies that came again {repeated['copies']}"
    if whole["refused"]:
        yield f"  entries of outboxes that were no envelopes, and were refused: {whole['refused']}"
    for fault in whole["faults"]:
        band = fault["band"] and f", 95% band {fault['band'][0]:.1%}..{fault['band'][1]:.1%}"
        rate = "-" if fault["rate"] is None else f"{fault['rate']:.1%}{band or ''}"
        yield f"  whole run: {fault['name']} {fault['set']} acted on {fault['injected']} of {fault['offered']} ({rate})"
    yield f"  record {result['record']}"
    yield f"  again: {result['again']}"
