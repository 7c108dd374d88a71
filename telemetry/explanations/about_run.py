"""Explains a run: each promise that is not HELD with what happened to those that its witness names, why the run did not
go on, and its critical path from `go` to the write.

The verdict is given, as the judge printed it. Nothing is judged here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, Final

import msgspec

from telemetry.events import InvariantViolated, MessageSent
from telemetry.explanations.about_robot import why_robot
from telemetry.explanations.critical_path import critical_path, longest
from telemetry.explanations.explanation import Explanation, Section, Step, section
from telemetry.explanations.happenings import after_write, purposes, reports
from telemetry.explanations.lacking import why_lacking
from telemetry.explanations.lives import life_story, state_at_the_end
from telemetry.explanations.run_index import RunIndex
from telemetry.explanations.witnesses import witness_steps
from telemetry.explanations.writing import lack_text, why_written, writing_steps
from telemetry.phrases import named_parts, named_robots
from telemetry.stories.sentences import sentence_of

_ROBOT: Final = re.compile(r"\br[0-9]{2,7}\b")
_MOST_ROBOTS: Final = 3  # of those that a promise names
_WRITING: Final = ("once", "right", "patient")
_LIVES: Final = ("supervised", "fenced", "monotonic", "unique", "played")


class Promised(msgspec.Struct, frozen=True):
    """A promise as the judge found it."""

    name: str
    state: str
    why: str


def why_run(index: RunIndex, verdict: Mapping[str, Any] | None) -> Explanation:
    """Why the run got its verdict (None: it has none yet), and where its time went."""
    promises = [] if verdict is None else [_promised(name, found) for name, found in verdict["promises"].items()]
    unkept = [promise for promise in promises if promise.state != "HELD"]
    write = index.write
    path = [] if write is None else critical_path(index, write)
    is_over = index.stop_us is not None
    done = write is not None and all(map(index.is_complete, _present(index)))
    return Explanation(
        index.run,
        None,
        None,
        _answer(index, verdict, unkept, path),
        (
            *section("what was broken on purpose", purposes(index)),
            *section(
                "why it did not go on" if is_over else "why it does not go on", () if done else _standstill(index)
            ),
            *(each for alike in _by_reason(unkept) for each in _story(index, alike)),
            *section("from go to the write: where the time went", path),
            *section("what kept the run going after the write", () if write is None else after_write(index, write)),
            *section("what happened in the run", reports(index)),
        ),
    )


def _promised(name: str, found: Mapping[str, Any]) -> Promised:
    return Promised(name, str(found.get("state")), str(found.get("why")))


def _answer(index: RunIndex, verdict: Mapping[str, Any] | None, unkept: list[Promised], path: list[Step]) -> str:
    if verdict is None:
        judged = f"run {index.run} was not judged yet" if index.stop_us else f"run {index.run} goes on"
    elif not unkept:
        judged = f"run {index.run} held every promise"
    else:
        judged = f"run {index.run} is {verdict['verdict']}: {', '.join(promise.name for promise in unkept)}"
    return "; ".join([judged, *_named_purpose(index), _written(index, path)])


def _named_purpose(index: RunIndex) -> list[str]:
    """What was broken on purpose, in one phrase, if anything was."""
    exhibit = index.history.settings.exhibit
    named = [] if exhibit is None else [f"broken on purpose, by the exhibit {exhibit}"]
    lost = [step.robot for step in purposes(index) if step.robot]
    return named + ([f"evidence was removed on purpose: amnesia of {named_robots(lost)}"] if lost else [])


def _written(index: RunIndex, path: list[Step]) -> str:
    write = index.write
    if write is None:
        return "nothing was written"
    slowest = longest(path)
    text = f"{write.source} wrote the secret {index.after_go_s(write.wall_us):.2f} s after go"
    if slowest is None or not slowest.took_s:
        return text
    return f"{text}; the longest step of that took {slowest.text.strip()}"


def _present(index: RunIndex) -> list[str]:
    """The robots that took part at the end."""
    return [name for name, robot in index.view.robots.items() if robot.state not in ("dead", "waiting")]


def _standstill(index: RunIndex) -> Iterator[Step]:
    """The causes that the state at the end shows, and the robots that are not complete."""
    if index.go_us is None:
        yield Step("the order go was never given")
    for cause in index.diagnosis:
        yield Step(cause.text, robot=cause.robots[0] if len(cause.robots) == 1 else "")
    incomplete = [name for name in _present(index) if name in index.robots and not index.is_complete(name)]
    silent = [name for name in _present(index) if next(index.reported(name, MessageSent), None) is None]
    if silent and index.go_us is not None:
        yield Step(f"{named_robots(silent)} sent no message at all")
    if incomplete and not index.diagnosis:
        yield from _alike(index, incomplete)
    elif not incomplete and index.write is None:
        for name in _present(index)[:_MOST_ROBOTS]:
            yield Step(f"{name} is complete; {why_written(index, name)}", robot=name)


def _alike(index: RunIndex, incomplete: list[str]) -> Iterator[Step]:
    """Incomplete robots, those that lack the same together."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in incomplete:
        groups.setdefault(tuple(index.lacking(name)), []).append(name)
    for parts, names in groups.items():
        verb = "lacks" if len(names) == 1 else "lack"
        yield Step(f"{named_robots(names)} {verb} {named_parts(parts)} (robots why {names[0]} --part {parts[0]})")


def _by_reason(promises: list[Promised]) -> list[list[Promised]]:
    """Promises with the same state and the same reason together."""
    alike: dict[tuple[str, str], list[Promised]] = {}
    for promise in promises:
        alike.setdefault((promise.state, promise.why), []).append(promise)
    return list(alike.values())


def _story(index: RunIndex, promises: list[Promised]) -> tuple[Section, ...]:
    """Promises that are not HELD for one reason: the finding, and what happened to those that it names."""
    names = [promise.name for promise in promises]
    title = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {promises[0].state}"
    steps = dict.fromkeys(step for promise in promises for step in _witnesses(index, promise))
    steps.update(dict.fromkeys(witness_steps(index, promises[0].why)))
    in_time = sorted(steps, key=lambda step: -inf if step.at_s is None else step.at_s)
    return section(title, [Step(promises[0].why), *in_time])


def _witnesses(index: RunIndex, promise: Promised) -> Iterator[Step]:
    named = [name for name in dict.fromkeys(_ROBOT.findall(promise.why)) if name in index.robots][:_MOST_ROBOTS]
    if promise.name == "convergent":
        absent = [name for name in named if state_at_the_end(index, name) != "lived"]
        for name in absent:
            yield Step(why_robot(index, name).answer, robot=name)
        present = [name for name in _present(index) if name in index.robots and name not in absent]
        yield from _incompleteness(index, [name for name in present if not index.is_complete(name)])
    elif promise.name in _WRITING:
        yield from _writes(index, named)
    elif promise.name in _LIVES:
        steps = [step for name in named for step in (*life_story(index, name), *_violations(index, name))]
        yield from sorted(steps, key=lambda step: step.at_s or 0.0)


def _incompleteness(index: RunIndex, robots: list[str]) -> Iterator[Step]:
    """Why robots are not complete, those with the same reasons together, unless the causes of the standstill show it
    already."""
    known = {cause.text for cause in index.diagnosis}
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in robots:
        found = dict.fromkeys(why_lacking(index, name, part) for part in index.lacking(name))
        unknown = [_of_it(name, reason) for reason in found if reason not in known]
        if unknown:
            alike.setdefault((lack_text(index, name), *unknown), []).append(name)
    for (lacks, *reasons), names in alike.items():
        one, each = (names[0], "") if len(names) == 1 else ("", "each ")
        yield Step(f"{named_robots(names)} {each}{lacks}; {'; '.join(reasons)}", robot=one)


def _of_it(robot: str, reason: str) -> str:
    """The reason without the name of its robot, so that it is the same for all with that reason."""
    text = reason.replace(f"between {robot} and", "between it and")
    return f"it {text.removeprefix(f'{robot} ')}" if text.startswith(f"{robot} ") else text


def _writes(index: RunIndex, named: list[str]) -> Iterator[Step]:
    """What led to the writes of the robots that are named, or else of the writer."""
    write = index.write
    for robot in named or ([] if write is None else [write.source]):
        yield from writing_steps(index, robot)


def _violations(index: RunIndex, robot: str) -> Iterator[Step]:
    for stamped in index.reported(robot, InvariantViolated):
        yield Step(sentence_of(stamped), index.after_go_s(stamped.wall_us), robot=robot, life=stamped.incarnation)
