"""What is known of each promise so far, as plain facts. The verdict is the judge's, and comes after the end: nothing
here calls a promise kept or broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from telemetry.events import (
    Event,
    InjectionFailed,
    InvariantViolated,
    PartsMerged,
    RobotBorn,
    RobotDisturbed,
    RobotFenced,
    RobotQuiet,
    SecretRefused,
    SecretWritten,
    Stamped,
)
from telemetry.phrases import bitmap_of_parts, counted, named_parts, named_robots
from telemetry.view import View


class Fact(NamedTuple):
    """`text`: what is known of a promise so far. `tone`: `bad` if it speaks against the promise or takes evidence
    away, `good` if what the promise wants has happened, else empty."""

    promise: str
    text: str
    tone: Literal["", "good", "bad"] = ""


class Promises:
    """What the robots reported that concerns a promise, and is not in the view."""

    def __init__(self) -> None:
        self.writers: tuple[str, ...] = ()
        self.size = 0  # bytes of the secret, as its writer reported
        self.refused = 0  # attempts to write
        self.hasty: tuple[str, ...] = ()  # tried to write, and had not been quiet
        self.forgetful: tuple[str, ...] = ()  # reported fewer parts than before
        self.contradicted: tuple[tuple[str, int], ...] = ()  # robot, part
        self.twice = 0  # parts that a robot reported to have learnt, and knew
        self.fenced: tuple[str, ...] = ()
        self.failed = 0  # injections
        self._held: dict[str, int] = {}
        self._learnt: dict[str, int] = {}
        self._quiet: frozenset[str] = frozenset()

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Take what concerns a promise."""
        robot, event = stamped.source, stamped.event
        match event:
            case PartsMerged():
                self._learn(robot, event)
            case RobotBorn(parts):
                self._holds(robot, parts)
                self._quiet -= {robot}
            case RobotQuiet():
                self._quiet |= {robot}
            case RobotDisturbed():
                self._quiet -= {robot}
            case SecretWritten() | SecretRefused():
                self._try(robot, event)
            case InvariantViolated(index=index):
                self.contradicted = (*self.contradicted, (robot, index))
            case RobotFenced():
                self.fenced = (*self.fenced, f"{robot}/{stamped.incarnation}")
            case InjectionFailed():
                self.failed += 1

    def copy(self) -> Promises:
        other = Promises()
        other.__dict__ = {**self.__dict__, "_held": self._held.copy(), "_learnt": self._learnt.copy()}
        return other

    def _learn(self, robot: str, event: PartsMerged) -> None:
        parts, before = bitmap_of_parts(event.indices), self._learnt.get(robot, 0)
        self.twice += (parts & before).bit_count()
        self._learnt[robot] = before | parts
        self._holds(robot, event.held)

    def _holds(self, robot: str, held: int) -> None:
        if held < self._held.get(robot, 0):
            self.forgetful = (*self.forgetful, robot)
        self._held[robot] = held

    def _try(self, robot: str, event: Event) -> None:
        if robot not in self._quiet:
            self.hasty = (*self.hasty, robot)
        if isinstance(event, SecretWritten):
            self.writers, self.size = (*self.writers, robot), event.size
        else:
            self.refused += 1


class Totals(NamedTuple):
    """What the rest of a scene counted: `sent` and `learnt` are parts, `injected` process faults."""

    sent: int
    learnt: int
    repeated: int
    offered: int
    lost: int
    injected: int


MOST_AGAINST: Final = 3


def facts_of(promises: Promises, view: View, totals: Totals) -> Iterator[Fact]:
    """A fact for each promise, in the order of the verdict."""
    yield _once(promises)
    yield _right(promises)
    yield _monotonic(promises, view)
    yield _unique(promises)
    yield _idempotent(promises, totals)
    yield _patient(promises)
    yield _convergent(view)
    yield _supervised(view)
    yield _fenced(promises)
    yield _frugal(totals)
    yield _honest(totals)
    yield _accounted(totals, view)
    yield _played(promises, totals)


def _once(promises: Promises) -> Fact:
    if len(promises.writers) > 1:
        return Fact("once", f"{named_robots(promises.writers)} report an accepted write", "bad")
    if not promises.writers:
        return Fact("once", "nothing is written yet")
    refused = f", {counted(promises.refused, 'later attempt')} refused" if promises.refused else ""
    return Fact("once", f"written by {promises.writers[0]}{refused}", "good")


def _right(promises: Promises) -> Fact:
    if not promises.writers:
        return Fact("right", "nothing is written yet")
    return Fact("right", f"{promises.size} bytes, compared with the secret at the end")


def _monotonic(promises: Promises, view: View) -> Fact:
    lost = [name for name, robot in view.robots.items() if robot.ended == "journal"]
    if promises.forgetful:
        return Fact("monotonic", f"{named_robots(promises.forgetful)} held less than before", "bad")
    if lost:
        return Fact("monotonic", f"the journal of {named_robots(lost)} is gone", "bad")
    return Fact("monotonic", "no robot holds less than before")


def _unique(promises: Promises) -> Fact:
    if not promises.contradicted:
        return Fact("unique", "no contradiction seen")
    robots = named_robots(robot for robot, _ in promises.contradicted)
    return Fact("unique", f"{robots} refused another word for {named_parts(part for _, part in promises.contradicted)}")


def _idempotent(promises: Promises, totals: Totals) -> Fact:
    if promises.twice:
        return Fact("idempotent", f"learnt a second time: {counted(promises.twice, 'part')}", "bad")
    again = f"; {counted(totals.repeated, 'copy', 'copies')} came again" if totals.repeated else ""
    return Fact("idempotent", f"no part was learnt twice{again}")


def _patient(promises: Promises) -> Fact:
    if promises.hasty:
        return Fact("patient", f"{named_robots(promises.hasty)} tried to write, and was not quiet", "bad")
    return Fact("patient", "only quiet robots tried to write" if promises.writers else "no robot tried to write yet")


def _convergent(view: View) -> Fact:
    robots = [robot for robot in view.robots.values() if robot.state != "dead"]
    complete = sum(robot.is_complete for robot in robots)
    everyone = max(len(robots), view.dealt + view.joined - (view.born - len(robots)))
    return Fact(
        "convergent", f"{complete} of {counted(everyone, 'robot')} complete", "good" if complete == everyone else ""
    )


def _supervised(view: View) -> Fact:
    rebirths = sum(robot.incarnation - 1 for robot in view.robots.values() if robot.incarnation > 1)
    away = [name for name, robot in view.robots.items() if robot.state in ("away", "waiting")]
    dead = [name for name, robot in view.robots.items() if robot.state == "dead"]
    if not rebirths and not away and not dead:
        return Fact("supervised", "no robot died")
    texts = [f"{counted(rebirths, 'rebirth')}"] if rebirths else []
    texts += [f"away: {named_robots(away)}"] if away else []
    texts += [f"dead for good: {named_robots(dead)}"] if dead else []
    return Fact("supervised", ", ".join(texts if away or dead else [*texts, "all are back"]))


def _fenced(promises: Promises) -> Fact:
    if not promises.fenced:
        return Fact("fenced", "no earlier life was met")
    return Fact("fenced", f"{', '.join(promises.fenced[-MOST_AGAINST:])} found a later life, and ended")


def _frugal(totals: Totals) -> Fact:
    return Fact("frugal", f"{counted(totals.sent, 'part')} sent for {totals.learnt} learnt")


def _honest(totals: Totals) -> Fact:
    if not totals.offered:
        return Fact("honest faults", "no envelope was decided yet")
    return Fact("honest faults", f"{totals.lost / totals.offered:.1%} lost of {totals.offered} envelopes")


def _accounted(totals: Totals, view: View) -> Fact:
    if view.has_server_forgotten:
        return Fact("accounted", "the server came back without some of what it had stored", "bad")
    return Fact("accounted", f"{counted(totals.offered, 'envelope has', 'envelopes have')} a fate")


def _played(promises: Promises, totals: Totals) -> Fact:
    done = (
        f"{counted(totals.injected, 'process fault')} injected" if totals.injected else "no process fault was due yet"
    )
    return Fact("played", f"{done}, {promises.failed} could not be" if promises.failed else done)
