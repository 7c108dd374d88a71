"""One event in detail; if it is about a message, the whole life of that message, as far as the kept events tell it.

What a relay decided for one envelope is no event. So what is said here of a message that did not arrive is what is not
known, and where to look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from telemetry.drawing.events.lines import event_key, event_line, when
from telemetry.drawing.events.listing import listing
from telemetry.drawing.events.words import described
from telemetry.drawing.line import EMPTY, Fragment, Line, Size, Tone, block, line
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.drawing.table import list_title
from telemetry.events import (
    ExchangeEnded,
    InvariantViolated,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    Stamped,
)
from telemetry.phrases import counted, seconds
from telemetry.scene.scene import Scene

_ALL_KEPT: Final = 1_000_000
_IN_EXCHANGE = MessageSent | MessageDropped | MessageReceived | ExchangeEnded
_ARRIVING = MessageReceived | MessageRepeated | MessageRefused | PartsMerged | InvariantViolated


class _Message(NamedTuple):
    """Which envelope: its sender, the life of the sender, its receiver, and its number among those to that receiver."""

    sender: str
    incarnation: int
    receiver: str
    sequence: int


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The page."""
    scene, key = moment.scene, moment.chosen.event
    shown = _find(scene, key)
    if shown is None:
        gone = f"The event {key} is no longer kept here: only the newest {len(scene.events)} are. The record has it."
        return block([line(Fragment(gone, "news"))], size)
    message = _message_of(shown)
    lines = _life(scene, message, size.width, marks) if message else _around(scene, shown, size.width, marks)
    title = line(Fragment("EVENT ", "title"), Fragment(f"{key}   esc: all events", "dim"))
    return block([title, event_line(shown, scene.go_us, size.width, marks), EMPTY, *lines], size)


def _find(scene: Scene, key: str) -> Stamped | None:
    found = listing(scene, ("event", key), lambda: lambda stamped: event_key(stamped) == key, _ALL_KEPT).events
    return found[0] if found else None


def _message_of(stamped: Stamped) -> _Message | None:
    event = stamped.event
    if isinstance(event, MessageSent | MessageDropped):
        return _Message(stamped.source, stamped.incarnation, event.receiver, event.sequence)
    if isinstance(event, _ARRIVING) and event.sender:
        return _Message(event.sender, event.sender_incarnation, stamped.source, event.sequence)
    return None


def _life(scene: Scene, message: _Message, width: int, marks: Marks) -> list[Line]:
    """What is told of a message, then its events, then the rest of its exchange."""
    events = _kept(scene, ("message", message), lambda stamped: _message_of(stamped) == message)
    exchange = next((name for stamped in events if (name := getattr(stamped.event, "exchange", ""))), "")
    sender, receiver = f"{message.sender} (life {message.incarnation})", message.receiver
    name = f"MESSAGE {message.sequence} from {sender} to {receiver}   "
    lines = [line(Fragment(name, "title"), Fragment(f"exchange {exchange}" if exchange else "", "dim"))]
    lines += [line(Fragment(f"{text}", tone)) for text, tone in _steps(scene, events)]
    lines += [EMPTY, list_title("ITS EVENTS", len(events), len(events))]
    lines += [event_line(stamped, scene.go_us, width, marks) for stamped in events]
    if exchange:
        others = _kept(scene, ("exchange", exchange), lambda stamped: _is_of(stamped, exchange))
        rest = [stamped for stamped in others if stamped not in events]
        lines += [EMPTY, list_title("THE REST OF ITS EXCHANGE", len(rest), len(rest))]
        lines += [event_line(stamped, scene.go_us, width, marks) for stamped in rest]
    return lines


def _is_of(stamped: Stamped, exchange: str) -> bool:
    event = stamped.event
    return (
        isinstance(event, MessageSent | MessageDropped | MessageReceived | ExchangeEnded) and event.exchange == exchange
    )


def _kept(scene: Scene, key: tuple[str, object], wanted: Callable[[Stamped], bool]) -> list[Stamped]:
    """The events of a kind that are kept, in order of time."""
    found = listing(scene, key, lambda: wanted, _ALL_KEPT).events
    return sorted(found, key=lambda stamped: stamped.wall_us)


def _steps(scene: Scene, events: list[Stamped]) -> list[tuple[str, Tone]]:
    """The steps of its life, each as a sentence."""
    sent = next((stamped for stamped in events if isinstance(stamped.event, MessageSent | MessageDropped)), None)
    received = [stamped for stamped in events if isinstance(stamped.event, MessageReceived)]
    merged = [stamped for stamped in events if isinstance(stamped.event, PartsMerged)]
    steps = [*_sending(scene, sent), *_fate(scene, sent, received), *_arrivals(scene, sent, received)]
    if merged:
        steps += [(f"4 learnt     {described(each).parts or '-'}: new to {each.source}", "good") for each in merged]
    elif received and isinstance(received[0].event, MessageReceived) and received[0].event.kind == "summary":
        steps.append(("4 learnt     a summary names the parts that its sender holds; none came that were new", "dim"))
    elif received:
        steps.append(("4 learnt     it brought nothing that was new", "dim"))
    return steps


def _sending(scene: Scene, sent: Stamped | None) -> list[tuple[str, Tone]]:
    if sent is None:
        gone = scene.seen - len(scene.events)
        why = f"its event is no longer kept here, as {gone} older ones" if gone else "it was not reported"
        return [(f"1 sent       {why}", "news")]
    event = sent.event
    if isinstance(event, MessageDropped):
        return [(f"1 not sent   {event.reason}: it may never have left {sent.source}", "bad")]
    if not isinstance(event, MessageSent):
        return []
    parts = f" with {counted(event.parts, 'part')}" if event.parts else ""
    again = f", try {event.attempt + 1}" if event.attempt else ""
    text = f"{when(sent.wall_us, scene.go_us)} s after go: {event.kind}{parts} to {event.receiver}{again}"
    return [(f"1 sent       {text}", "")]


def _fate(scene: Scene, sent: Stamped | None, received: list[Stamped]) -> list[tuple[str, Tone]]:
    """What can be said of what the relay decided."""
    if received:
        copies = f" in {len(received)} copies" if len(received) > 1 else ""
        return [(f"2 fate       delivered{copies}: it arrived", "")]
    if sent is None or isinstance(sent.event, MessageDropped):
        return []
    age = seconds(scene.now_us - sent.wall_us)
    faults = ", ".join(scene.view.faults) or "no fault"
    return [
        (f"2 fate       not known: no copy arrived within {age}", "bad"),
        ("             it was lost, is held back, or its receiver did not live", "bad"),
        (f"             in force now: {faults}", "dim"),
        ("             fates of single envelopes are no events; the record has them: robots traces", "dim"),
    ]


def _arrivals(scene: Scene, sent: Stamped | None, received: list[Stamped]) -> list[tuple[str, Tone]]:
    steps: list[tuple[str, Tone]] = []
    for stamped in received:
        event = stamped.event
        if isinstance(event, MessageReceived):
            after = f", {seconds(stamped.wall_us - sent.wall_us)} after it was sent" if sent is not None else ""
            copy = f" (copy {event.copy})" if event.copy else ""
            at = f"at {stamped.source}{copy} {when(stamped.wall_us, scene.go_us)} s after go{after}"
            steps.append((f"3 arrived    {at}", ""))
    return steps


def _around(scene: Scene, shown: Stamped, width: int, marks: Marks) -> list[Line]:
    """Of what is no message: what the same process reported before and after."""
    same = _kept(scene, ("source", shown.source), lambda stamped: stamped.source == shown.source)
    place = next((number for number, stamped in enumerate(same) if stamped is shown), 0)
    some = same[max(0, place - 5) : place + 10]
    title = list_title(f"WHAT {shown.source} REPORTED BEFORE AND AFTER", len(some), len(same))
    fields = [(name, getattr(shown.event, name)) for name in shown.event.__struct_fields__]
    fields_shown = [
        line(Fragment(f"{name:>10}  ", "dim"), str(value)) for name, value in fields if value not in ("", (), None)
    ]
    return [*fields_shown, EMPTY, title, *(event_line(stamped, scene.go_us, width, marks) for stamped in some)]
