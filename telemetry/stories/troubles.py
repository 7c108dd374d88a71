"""Stories of overload, refusals, losses and anomalies, and of the secret. What happens at many processes at about the
same time is one story.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from telemetry.events import (
    AnomalyBegan,
    AnomalyEnded,
    AnyEvent,
    ChannelPressure,
    InboxOverflowed,
    InvariantViolated,
    JournalMended,
    RelayCongested,
    RelayDeposed,
    SecretWritten,
    ServerForgot,
    Stamped,
)
from telemetry.phrases import named_robots
from telemetry.stories.book import Act, Book
from telemetry.stories.sentences import sentence_of

_REPORTED: Final = "channel pressure"  # the anomaly that tells what channels report themselves
_BETWEEN: Final = "\0"

Members = tuple[str, ...]


def _pressure(book: Book, stamped: Stamped, event: ChannelPressure) -> None:
    _gather(book, stamped, f"pressure {event.channel}", lambda members: _pressed(event.channel, _named(members)))


def _pressed(channel: str, who: str) -> str:
    if channel == "outbox":
        return f"{who} could not send envelopes: the outbox is full, or the server away"
    if channel == "events":
        return f"{who} lost events: none of their readers sees them"
    return f"the channel `{channel}` of {who} is full: items are dropped"


def _overflowed(book: Book, stamped: Stamped, event: InboxOverflowed) -> None:  # noqa: ARG001
    text = "lost envelopes unread: so many waited in the inbox that the server dropped them"
    _gather(book, stamped, "overflow", lambda members: f"{_named(members)} {text}")


def _forgot(book: Book, stamped: Stamped, event: ServerForgot) -> None:
    def text(members: Members) -> str:
        whats = ", ".join(dict.fromkeys(members))
        return f"the server came back older, without some of what it had stored ({whats}): the run is lost"

    book.gather("forgot", stamped.wall_us, event.what, text, stamped.source)


def _began(book: Book, stamped: Stamped, event: AnomalyBegan) -> None:
    """With the detail of the first, where there are several."""

    def text(members: Members) -> str:
        abouts, details = zip(*(member.split(_BETWEEN, 1) for member in members), strict=True)
        first = f", first {abouts[0]}" if len(abouts) > 1 else ""
        return f"unusual: {_named(abouts)} ({event.rule}){first}: {details[0]}"

    if event.rule != _REPORTED:
        member = f"{event.about}{_BETWEEN}{event.detail}"
        book.gather(f"anomaly {event.rule}", stamped.wall_us, member, text, event.about)


def _ended(book: Book, stamped: Stamped, event: AnomalyEnded) -> None:
    def text(members: Members) -> str:
        return f"not unusual any more: {_named(members)} ({event.rule})"

    if event.rule != _REPORTED:
        book.gather(f"ended {event.rule}", stamped.wall_us, event.about, text, event.about, tone="good")


def _gather(book: Book, stamped: Stamped, key: str, text: Callable[[Members], str]) -> None:
    book.gather(key, stamped.wall_us, stamped.source, text, stamped.source)


def _named(members: Members) -> str:
    """Robots as ranges, others as they are."""
    names = dict.fromkeys(members)
    are_robots = all(name[1:].isdecimal() for name in names)
    return named_robots(names) if are_robots else ", ".join(names)


def _violated(book: Book, stamped: Stamped, event: InvariantViolated) -> None:
    key = f"violated {stamped.source} {event.invariant} {event.index}"
    book.repeat(key, stamped.wall_us, sentence_of(stamped), stamped.source)


def _congested(book: Book, stamped: Stamped, event: RelayCongested) -> None:  # noqa: ARG001
    _gather(book, stamped, f"congested {stamped.source}", lambda _members: sentence_of(stamped))


def _report_bad(book: Book, stamped: Stamped, event: AnyEvent) -> None:  # noqa: ARG001
    book.report(stamped.wall_us, sentence_of(stamped), stamped.source, tone="bad")


def _written(book: Book, stamped: Stamped, event: SecretWritten) -> None:  # noqa: ARG001
    book.report(stamped.wall_us, sentence_of(stamped), stamped.source, tone="good")


ACTS: Final[dict[type[Any], Act]] = {
    ChannelPressure: _pressure,
    InboxOverflowed: _overflowed,
    ServerForgot: _forgot,
    AnomalyBegan: _began,
    AnomalyEnded: _ended,
    RelayCongested: _congested,
    RelayDeposed: _report_bad,
    InvariantViolated: _violated,
    JournalMended: _report_bad,
    SecretWritten: _written,
}
"""By kind of event: what becomes of the stories."""
