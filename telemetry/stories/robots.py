"""Stories of robots: how they die and live again, wait, are paused, and how their workers crash and run again.

What ended a robot may be reported by several processes, in any order: it is one story all the same.
"""

from __future__ import annotations

from typing import Any, Final

from telemetry.events import (
    RECALLED,
    AnyEvent,
    EvidenceLost,
    RobotBorn,
    RobotFenced,
    RobotJoined,
    RobotLeft,
    RobotLost,
    RobotRecovered,
    RobotWaiting,
    RobotYielded,
    Stamped,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerRestarted,
    WorkerStarted,
)
from telemetry.phrases import counted, seconds
from telemetry.stories.book import Act, Book, times
from telemetry.stories.sentences import error_of, sentence_of, waiting_text
from telemetry.stories.story import GATHERED_US

AWAY: Final = "not back"
STOPPED: Final = "not running again"
_BACK: Final = "its gossip not begun"
_SILENT: Final = "killed, because it was silent"
_LOST: Final = "lost: its RQ worker did not renew its lease"


def die(book: Book, robot: str, at_us: int, text: str, when_paused: str = _SILENT) -> None:
    """A robot ended, by a report of its death; what was injected before explains it already. `when_paused`: what became
    of a pause."""
    if book.go_on_as(f"pause {robot}", robot, when_paused, AWAY) or book.is_known(robot, at_us):
        return
    book.begin(robot, at_us, text, robot, lasting=AWAY)


def _born(book: Book, stamped: Stamped, event: RobotBorn) -> None:
    robot, at_us, life = stamped.source, stamped.wall_us, stamped.incarnation
    book.go_on_as(f"pause {robot}", robot, _SILENT, AWAY)
    story = book.open.get(robot)
    after = f" after {seconds(max(0, at_us - story.at_us))}" if story and story.lasting != _BACK else ""
    if life == 1:
        book.end(robot, at_us, f"born{after}", f"{robot} is born{after} of waiting")
        return
    news = f"life {life}{after}, replayed {counted(event.replayed, 'entry', 'entries')}"
    if not book.end(robot, at_us, news, f"{robot} is back: {news}"):
        book.report(at_us, f"{robot} lives again: {news}", robot, tone="good")


def _recovered(book: Book, stamped: Stamped, event: RobotRecovered) -> None:
    """It is reported just before the birth, and perhaps alone knows of a death."""
    if f"pause {stamped.source}" not in book.open and stamped.source not in book.open:
        text = f"{stamped.source} died, and is back after {seconds(max(0, event.down_us))}"
        book.begin(stamped.source, stamped.wall_us, text, stamped.source, lasting=_BACK)


def _left(book: Book, stamped: Stamped, event: RobotLeft) -> None:
    robot = stamped.source
    if event.reason == RECALLED and not book.is_known(robot, stamped.wall_us):
        book.begin(robot, stamped.wall_us, sentence_of(stamped), robot, lasting=AWAY)


def _lost(book: Book, stamped: Stamped, event: RobotLost) -> None:
    die(book, event.robot, stamped.wall_us, sentence_of(stamped), _LOST)


def _waiting(book: Book, stamped: Stamped, event: RobotWaiting) -> None:
    if event.waited_s > 0:
        return
    if event.robot in book.open:
        book.add(event.robot, f"it waits: {waiting_text(event)}", "", stamped.wall_us)
    else:
        book.begin(event.robot, stamped.wall_us, sentence_of(stamped), event.robot, lasting="", waited_us=0)


def _evidence_lost(book: Book, stamped: Stamped, event: EvidenceLost) -> None:
    robot = stamped.source
    if event.stream == "journal":
        story = book.open.get(robot)
        is_known = story is not None and "journal deleted" in story.text
        news = "it will not live again" if is_known else "it will not live again, because its journal is gone"
        _end_for_good(book, stamped, robot, news, f"{robot} will not live again: its journal is gone")
    else:
        book.report(stamped.wall_us, sentence_of(stamped), robot, tone="bad")


def _gave_up(book: Book, stamped: Stamped, event: WorkerGaveUp) -> None:
    robot, often = stamped.source, counted(event.crashes, "time")
    if event.worker == robot:
        _end_for_good(
            book, stamped, robot, f"it will not live again: it died too often ({often})", sentence_of(stamped)
        )
    elif event.worker.startswith("relay:"):
        news = f"it is not started again: it died too often ({often})"
        _end_for_good(book, stamped, event.worker, news, sentence_of(stamped))
    elif not book.go_on_as(f"{robot}/{event.worker}", robot, f"too often ({often}), so {robot} ended", AWAY):
        die(book, robot, stamped.wall_us, sentence_of(stamped))


def _end_for_good(book: Book, stamped: Stamped, process: str, text: str, sequel: str) -> None:
    if not book.end(process, stamped.wall_us, text, sequel, "bad"):
        book.report(stamped.wall_us, sequel, process, tone="bad")


def _crashed(book: Book, stamped: Stamped, event: WorkerCrashed) -> None:
    key = f"{stamped.source}/{event.worker}"
    if key not in book.open:
        text = f"{stamped.source}'s {event.worker} crashed {error_of(event)}"
        book.begin(key, stamped.wall_us, text, stamped.source, lasting=STOPPED)


def _restarted(book: Book, stamped: Stamped, event: WorkerRestarted) -> None:
    """It is reported with the crash, and tells of one whose report was lost."""
    key = f"{stamped.source}/{event.worker}"
    if not book.is_known(key, stamped.wall_us):
        text = f"{stamped.source}'s {event.worker} crashed"
        book.begin(key, stamped.wall_us, text, stamped.source, lasting=STOPPED)


def _started(book: Book, stamped: Stamped, event: WorkerStarted) -> None:
    """A worker that crashes again and again within a short time is one story."""
    key = f"{stamped.source}/{event.worker}"
    story = book.open.get(key)
    if story is None:
        return
    again = f"runs again after {seconds(max(0, stamped.wall_us - story.at_us))}"
    if stamped.wall_us - story.at_us >= GATHERED_US:
        book.end(key, stamped.wall_us, again, f"{stamped.source}'s {event.worker} {again}")
    else:
        book.end_gathered(key, stamped.wall_us, lambda members: f"{story.text}{times(members)}; {again}")


def _report_bad(book: Book, stamped: Stamped, event: AnyEvent) -> None:  # noqa: ARG001
    book.report(stamped.wall_us, sentence_of(stamped), stamped.source, tone="bad")


def _joined(book: Book, stamped: Stamped, event: RobotJoined | RobotYielded) -> None:
    book.report(stamped.wall_us, sentence_of(stamped), event.robot)


ACTS: Final[dict[type[Any], Act]] = {
    RobotBorn: _born,
    RobotRecovered: _recovered,
    RobotLeft: _left,
    RobotLost: _lost,
    RobotWaiting: _waiting,
    RobotYielded: _joined,
    RobotJoined: _joined,
    RobotFenced: _report_bad,
    EvidenceLost: _evidence_lost,
    WorkerCrashed: _crashed,
    WorkerRestarted: _restarted,
    WorkerStarted: _started,
    WorkerGaveUp: _gave_up,
}
"""By kind of event: what becomes of the stories."""
