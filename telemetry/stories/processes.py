"""Stories of the run itself, its plan, its injections, and of processes that are no robots."""

from __future__ import annotations

from typing import Any, Final

from telemetry.events import (
    AnyEvent,
    FaultInjected,
    InjectionFailed,
    PlanChanged,
    ProcessDied,
    ProcessStarted,
    RelayMissing,
    RelayResumed,
    RunDealt,
    RunStarted,
    RunStopped,
    Stamped,
    SupervisorBegan,
    SupervisorStalled,
)
from telemetry.phrases import seconds
from telemetry.stories.book import Act, Book
from telemetry.stories.robots import AWAY, STOPPED, die
from telemetry.stories.sentences import death_of, injected, is_notable, process_named, redone, robot_of, sentence_of

SERVER: Final = "redis"
_DEADLY: Final = ("kill", "amnesia", "restart")
_STALLED_US: Final = 1_000_000  # on a busy machine a leader is slow now and then


def _injected(book: Book, stamped: Stamped, event: FaultInjected) -> None:
    victim, at_us, text = event.victim, stamped.wall_us, injected(event.verb, event.victim)
    key = robot_of(victim) or victim
    if event.verb == "pause":
        book.begin(f"pause {victim}", at_us, text, key, lasting="still paused")
    elif event.verb == "resume":
        _resumed(book, stamped, victim)
    elif event.verb == "crash" and not book.is_past(victim, at_us) and victim not in book.open:
        book.begin(victim, at_us, text, victim.partition("/")[0], lasting=STOPPED)
    elif event.verb in _DEADLY and not book.is_past(key, at_us):
        if not book.go_on_as(f"pause {key}", key, text.removeprefix(f"{key} "), AWAY):
            book.begin(key, at_us, text, key, lasting=AWAY)
    elif event.verb != "crash":
        book.repeat(f"injected {text}", at_us, text, key)


def _not_injected(book: Book, stamped: Stamped, event: InjectionFailed) -> None:  # noqa: ARG001
    text = sentence_of(stamped)
    book.repeat(text, stamped.wall_us, text, stamped.source)


def _resumed(book: Book, stamped: Stamped, victim: str) -> None:
    story = book.open.get(f"pause {victim}")
    if story is None:
        book.report(stamped.wall_us, sentence_of(stamped), victim)
        return
    after = f"after {seconds(max(0, stamped.wall_us - story.at_us))}"
    sequel = f"{process_named(victim)} goes on {after} of pause"
    book.end(f"pause {victim}", stamped.wall_us, f"goes on {after}", sequel)


def _died(book: Book, stamped: Stamped, event: ProcessDied) -> None:
    robot, text = robot_of(event.process), sentence_of(stamped)
    is_idle = event.process.startswith("rq:") and not robot
    if (book.is_over and not book.is_known(event.process, stamped.wall_us)) or is_idle:
        if event.status:  # an end in order is no news then
            book.report(stamped.wall_us, text, event.process, tone="bad")
    elif robot:
        die(book, robot, stamped.wall_us, text)
    elif not book.go_on_as(f"pause {event.process}", event.process, death_of(event), AWAY):
        _end_of(book, event.process, stamped.wall_us, text)


def _end_of(book: Book, process: str, at_us: int, text: str) -> None:
    """A relay or the server ended; what was injected before explains it already."""
    if not book.is_known(process, at_us):
        book.begin(process, at_us, text, process, lasting=AWAY)


def _started(book: Book, stamped: Stamped, event: ProcessStarted) -> None:
    story = book.open.get(event.process)
    if event.process == SERVER and story is not None:
        news = f"back after {seconds(max(0, stamped.wall_us - story.at_us))}"
        book.end(SERVER, stamped.wall_us, f"it is {news}", f"the server is {news}")


def _relay_missing(book: Book, stamped: Stamped, event: RelayMissing) -> None:
    key = f"relay:{event.shard}"
    if key in book.open:
        book.add(key, sentence_of(stamped), "", stamped.wall_us)
    elif not book.is_over:
        book.begin(key, stamped.wall_us, sentence_of(stamped), key, lasting="", waited_us=0)


def _relay_resumed(book: Book, stamped: Stamped, event: RelayResumed) -> None:
    key = f"relay:{event.shard}"
    story = book.open.get(key)
    if story is not None:
        after = f"after {seconds(max(0, stamped.wall_us - story.at_us))}{redone(event)}"
        who = "the next one" if stamped.source == key else stamped.source
        named = "" if stamped.source == key else f" ({stamped.source})"
        book.end(key, stamped.wall_us, f"{who} takes over {after}", f"{key} is back{named} {after}")
    elif is_notable(stamped) and not book.is_over:
        book.report(stamped.wall_us, sentence_of(stamped), key, stamped.source)


def _supervisor_began(book: Book, stamped: Stamped, event: SupervisorBegan) -> None:
    if not event.is_successor or book.is_over:
        return
    story = book.open.get("supervisor")
    after = f" after {seconds(max(0, stamped.wall_us - story.at_us))}" if story else ""
    news = f"{stamped.source} leads the run{after}"
    if not book.end("supervisor", stamped.wall_us, news, news):
        book.report(stamped.wall_us, sentence_of(stamped), stamped.source)


def _stalled(book: Book, stamped: Stamped, event: SupervisorStalled) -> None:
    if event.stalled_us >= _STALLED_US:
        _report_bad(book, stamped, event)


def _plan_changed(book: Book, stamped: Stamped, event: PlanChanged) -> None:
    """As relay 0 applies it: all apply the same. What changes nothing is no news, nor is the calm after the end."""
    is_quiet = not event.request and (event.new == book.plan or (book.is_over and not event.new))
    if event.shard != 0:
        return
    text = sentence_of(stamped)
    if event.request:
        book.report(stamped.wall_us, text, tone="bad" if event.refusal else "news")
    elif not is_quiet:
        book.repeat(f"plan {text}", stamped.wall_us, text, tone="news")
    book.plan = event.new


def _stopped(book: Book, stamped: Stamped, event: RunStopped) -> None:
    if not book.is_over:
        book.report(stamped.wall_us, sentence_of(stamped), tone="good" if event.reason == "complete" else "news")
    book.is_over = True


def _report(book: Book, stamped: Stamped, event: AnyEvent) -> None:  # noqa: ARG001
    book.report(stamped.wall_us, sentence_of(stamped), stamped.source)


def _report_bad(book: Book, stamped: Stamped, event: AnyEvent) -> None:  # noqa: ARG001
    book.report(stamped.wall_us, sentence_of(stamped), stamped.source, tone="bad")


ACTS: Final[dict[type[Any], Act]] = {
    RunDealt: _report,
    RunStarted: _report,
    RunStopped: _stopped,
    SupervisorBegan: _supervisor_began,
    SupervisorStalled: _stalled,
    ProcessDied: _died,
    ProcessStarted: _started,
    FaultInjected: _injected,
    InjectionFailed: _not_injected,
    PlanChanged: _plan_changed,
    RelayMissing: _relay_missing,
    RelayResumed: _relay_resumed,
}
"""By kind of event: what becomes of the stories."""
