"""One event as one sentence. Every kind that a person should see at once has its own; the others are shown by their
fields, for people who look at a single event.

Texts from outside stand in them as they came: what prints a sentence makes it harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from telemetry.events import (
    RECALLED,
    AnomalyBegan,
    AnomalyEnded,
    AnyEvent,
    ChannelPressure,
    EvidenceLost,
    FaultInjected,
    InboxOverflowed,
    InjectionFailed,
    InvariantViolated,
    JournalMended,
    PlanChanged,
    ProcessDied,
    RelayCongested,
    RelayDeposed,
    RelayMissing,
    RelayResumed,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotJoined,
    RobotLeft,
    RobotLost,
    RobotRecovered,
    RobotWaiting,
    RobotYielded,
    RunDealt,
    RunHeldBack,
    RunStarted,
    RunStopped,
    SecretRefused,
    SecretWritten,
    ServerForgot,
    Stamped,
    SupervisorBegan,
    SupervisorStalled,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerRestarted,
    WorkerStarted,
    event_name,
)
from telemetry.phrases import counted, named_parts, seconds

_MOST_DETAIL: Final = 120  # characters of an event's own fields
_MOST_ERROR: Final = 120  # characters of a worker's error
_INJECTED_LIFE: Final = 1 << 32  # of the sender that a contradictory update names: no real life reaches it

_FENCED: Final = 75  # the exit code of a process whose robot has a later life
_ENDS: Final = {
    "complete": "stop: the secret is written, and every robot that can be is complete",
    "limit": "stop: the time limit of the run is over",
    "stopped": "stop: a person ended the run",
    "interrupted": "stop: the run is interrupted",
    "lost": "stop: the run is lost with its server's data",
}
_INJECTED: Final = {
    "kill": "killed (injected)",
    "pause": "paused (injected)",
    "resume": "resumed (injected)",
    "restart": "restarted (injected)",
    "amnesia": "killed, and its journal deleted (injected)",
    "contradict": "is sent another word for a part that it was dealt (injected)",
    "crash": "crashed (injected)",
}
_DURABILITY: Final = {
    "aof": ", safe on the server's disk",
    "replica": ", which a replica of the server has too",
    "memory": ", in the server's memory",
}


def sentence_of(stamped: Stamped) -> str:
    """The event as a sentence."""
    sentence = SENTENCES.get(type(stamped.event))
    return fields_of(stamped) if sentence is None else sentence(life_of(stamped), stamped.event)


def life_of(stamped: Stamped) -> str:
    """Who reports it: `r03/2` for a robot's second life."""
    is_robot = ":" not in stamped.source and stamped.incarnation > 1
    return f"{stamped.source}/{stamped.incarnation}" if is_robot else stamped.source


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


def process_named(process: str) -> str:
    """A process as people call it."""
    if process in ("redis", "supervisor"):
        return "the server" if process == "redis" else "the supervisor"
    robot = robot_of(process)
    if process.startswith("rq:"):
        return f"{robot}'s RQ worker" if robot else "an RQ worker"
    robot, _, worker = process.partition("/")
    return f"{robot}'s {worker}" if worker else process


def robot_of(process: str) -> str:
    """The robot that a process runs (`r03`, `rq:r03`); empty for other processes."""
    name = process.removeprefix("rq:")
    return name if name[:1] == "r" and name[1:].isdecimal() else ""


def death_of(event: ProcessDied) -> str:
    """How a process ended, after its name."""
    if event.status < 0:
        return f"died (signal {-event.status})"
    if event.status == _FENCED:
        return "ended: its robot lives elsewhere"
    return f"ended with exit code {event.status}" if event.status else "ended"


def injected(verb: str, victim: str) -> str:
    """What an injection did, with its victim."""
    return f"{process_named(victim)} {_INJECTED.get(verb, f'{verb} (injected)')}"


def error_of(event: WorkerCrashed) -> str:
    """Why a worker crashed, in brackets; a long text is cut."""
    for kind, text in (("InjectedCrash", "(injected)"), ("InvariantViolation", "(by what it refused)")):
        if event.error.startswith(kind):
            return text
    cut = event.error[:_MOST_ERROR].rstrip("0123456789") + "…"  # a number that is cut would be another number
    return f"({event.error if len(event.error) <= _MOST_ERROR else cut})"


def waiting_text(event: RobotWaiting) -> str:
    """Why a robot does not go on, and what is missing meanwhile."""
    rare = f"; no living robot holds {named_parts(event.only_here)}" if event.only_here else ""
    return f"no RQ worker is free{rare}"


def redone(event: RelayResumed) -> str:
    """What a relay finds to do again."""
    return f", with {counted(event.pending, 'envelope')} to decide again" if event.pending else ""


def plan_text(event: PlanChanged) -> str:
    """What is new in a plan, and what is gone."""
    gone = [fault for fault in event.old if fault not in event.new]
    new = [fault for fault in event.new if fault not in event.old]
    request = f" (requested: {event.request})" if event.request else ""
    if event.refusal:
        return f"refused: {event.request}: {event.refusal}"
    if not event.old:
        return f"faults: {', '.join(new) or 'none'}{request}"
    changes = [f"{_fault(names, verb)}: {', '.join(names)}" for names, verb in ((new, "begin"), (gone, "end")) if names]
    calm = "" if event.new or not gone else "; no fault is in force any more"
    return ("; ".join(changes) or "the faults stay as they were") + calm + request


def fields_of(stamped: Stamped) -> str:
    """The event's name and its fields, cut to a length that can be read."""
    fields = msgspec.to_builtins(stamped.event)
    fields.pop("name")
    detail = " ".join(f"{name} {_shown(value)}" for name, value in fields.items())
    if len(detail) > _MOST_DETAIL:
        detail = f"{detail[:_MOST_DETAIL].rstrip('0123456789')}…"  # a number that is cut would be another number
    return f"{life_of(stamped)} {event_name(stamped.event)} {detail}".rstrip()


def _fault(names: list[str], verb: str) -> str:
    return f"fault {verb}s" if len(names) == 1 else f"faults {verb}"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _invariant_text(who: str, event: InvariantViolated) -> str:
    is_injected = event.sender_incarnation == _INJECTED_LIFE
    sender = f"{event.sender}{' (an injected contradiction)' if is_injected else f'/{event.sender_incarnation}'}"
    return f"{who} refused part {event.index} of {sender}, which breaks `{event.invariant}`: {event.detail}"


def _gave_up_text(who: str, event: WorkerGaveUp) -> str:
    often = counted(event.crashes, "time")
    if event.worker == who.partition("/")[0]:
        return f"{event.worker} will not live again: it died too often ({often})"
    if event.worker.startswith("relay:"):
        return f"{event.worker} is not started again: it died too often ({often})"
    return f"{who} ends: its {event.worker} crashed too often ({often})"


def _pressure_text(who: str, event: ChannelPressure) -> str:
    if event.channel == "outbox":
        return f"{who} could not send {counted(event.dropped, 'envelope')}: the outbox is full, or the server away"
    if event.channel == "events":
        return f"{who} lost {counted(event.dropped, 'event')}: none of its readers sees them"
    return f"{who}'s channel {event.channel} is full: {counted(event.dropped, 'item')} dropped"


def _fenced_text(who: str, event: RobotFenced) -> str:
    """`where` names a key of the server, of which a person needs the last word."""
    robot, _, life = who.partition("/")
    return f"{robot}'s life {life or 1} met a later one ({event.where.rpartition(':')[2]}): fenced, it ended"


def _stopped_text(who: str, event: RunStopped) -> str:  # noqa: ARG001
    return _ENDS.get(event.reason, f"stop: {event.reason}")


def _left_text(who: str, event: RobotLeft) -> str:
    if event.reason == RECALLED:
        return f"{who} ended in order, to go on elsewhere"
    return f"{who} ended in order ({event.reason})"


Sentence = Callable[[str, Any], str]

SENTENCES: Final[dict[type[AnyEvent], Sentence]] = {
    RunDealt: lambda _, event: f"{counted(event.parts, 'part')} of a secret dealt to {counted(event.robots, 'robot')}",
    RunHeldBack: lambda _, event: f"held back: {counted(event.born, 'robot')} born, and go waits for a person",
    RunStarted: lambda _, event: (
        f"go: {counted(event.born, 'robot')} {'begins' if event.born == 1 else 'begin'} to gossip"
    ),
    RunStopped: _stopped_text,
    SupervisorBegan: lambda who, _: f"{who} leads the run from here on",
    SupervisorStalled: lambda _, event: (
        f"the leader of the run stood still for {seconds(event.stalled_us)}: what was due then comes late"
    ),
    ProcessDied: lambda _, event: f"{process_named(event.process)} {death_of(event)}",
    FaultInjected: lambda _, event: injected(event.verb, event.victim),
    InjectionFailed: lambda _, event: f"not injected: {event.verb} {event.target}: {event.why}",
    RobotWaiting: lambda _, event: f"{event.robot} waits: {waiting_text(event)}",
    RobotYielded: lambda _, event: f"{event.robot} gives way to {event.to}, which holds what no living robot does",
    RelayMissing: lambda _, event: f"shard {event.shard} has no relay: what is sent there waits (robots relay)",
    RobotJoined: lambda _, event: f"{event.robot} joins, without any part",
    RobotLost: lambda _, event: f"{event.robot} is lost: its RQ worker {event.worker} did not renew its lease",
    RobotBorn: lambda who, event: f"{who} is born, with {counted(event.parts, 'part')}",
    RobotRecovered: lambda who, event: f"{who} lives, {seconds(event.down_us)} after the death of the life before",
    RobotLeft: _left_text,
    RobotFenced: _fenced_text,
    RobotComplete: lambda who, event: f"{who} is complete: it holds all {counted(event.parts, 'part')}",
    WorkerCrashed: lambda who, event: f"{who}'s {event.worker} crashed {error_of(event)}",
    WorkerRestarted: lambda who, event: f"{who}'s {event.worker} is started again in {seconds(event.delay_us)}",
    WorkerStarted: lambda who, event: f"{who}'s {event.worker} runs again",
    WorkerGaveUp: _gave_up_text,
    ChannelPressure: _pressure_text,
    InboxOverflowed: lambda who, event: f"{who} lost {counted(event.lost, 'envelope')} unread: its inbox was full",
    InvariantViolated: _invariant_text,
    SecretWritten: lambda who, event: (
        f"{who} wrote the secret: {event.size} bytes{_DURABILITY.get(event.durability, '')}"
    ),
    SecretRefused: lambda who, _: f"{who} was refused: the secret was written already",
    JournalMended: lambda who, event: (
        f"somebody else had written into {who}'s journal: {counted(event.foreign, 'entry', 'entries')} removed"
    ),
    EvidenceLost: lambda who, event: f"{who} found that the {event.stream} is gone",
    ServerForgot: lambda who, event: f"the server came back older: it lost {event.what} that {who} knew it had",
    RelayResumed: lambda who, event: f"{who} relays shard {event.shard}{redone(event)}",
    PlanChanged: lambda _, event: plan_text(event),
    RelayCongested: lambda who, event: (
        f"{who} is overloaded: it holds back {counted(event.held, 'copy', 'copies')}, and reads nothing more until some"
        " are due"
    ),
    RelayDeposed: lambda who, event: f"{who} lost its lease of shard {event.shard}, and does nothing more there",
    AnomalyBegan: lambda _, event: f"unusual: {event.about} ({event.rule}): {event.detail}",
    AnomalyEnded: lambda _, event: (
        f"not unusual any more: {event.about} ({event.rule}), after {seconds(event.lasted_us)}"
    ),
}
"""By kind: the sentence, from who reports the event and the event itself."""
