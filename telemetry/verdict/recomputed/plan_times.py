"""What a plan wants to happen when: faults of messages that are in force, and faults of processes that are due.

The plan of the settings, amended by the requests that were answered. Times are microseconds after `go`. A second
opinion, so nothing here may be shared with the code that leads a run. The specification in short:

* `set LINES` amends the plan. Times count from the answer. A fault for everyone and always takes the place of the one
  of its name that is so, or only removes that when it does nothing; any other is added. New faults get the next
  instance numbers.
* `clear WHAT` takes out all faults of a name, all that are exactly a fault, or the one of a number (`#3`).
* `heal` takes out all that has begun. Each request forgets what is over by then, heals too.
* What was due before a request stays due; the end of a pause comes when the request takes the pause out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from telemetry.verdict.finding import EvidenceError
from telemetry.verdict.recomputed.plan_lines import NAMES, NEVER_US, Interval, Line, meaning_of, read_line

BEFORE_GO_US: Final = -1


class Request(NamedTuple):
    """A request that was answered at that time, and not refused."""

    at_us: int
    text: str


class Due(NamedTuple):
    """A fault of a process is due at `at_us`; a pause ends at `end_us`."""

    at_us: int
    line: Line
    end_us: int


class Version(NamedTuple):
    """The plan from `since_us` on."""

    since_us: int
    lines: tuple[Line, ...]

    def healed_us(self, line: Line) -> int:
        """When a heal ends the line, at the latest."""
        place = line.start_us, line.instance
        heals = (heal.start_us for heal in self.lines if heal.name == "heal" and (heal.start_us, heal.instance) > place)
        return min(heals, default=NEVER_US)


class PlanTimes:
    """A run's plan in time: `lines` with their numbers, until `end_us`. Raises EvidenceError when a text is not
    understood."""

    def __init__(self, lines: Iterable[Line], for_us: int, requests: Iterable[Request], end_us: int) -> None:
        self._for_us = for_us
        self._end_us = end_us
        self._versions = [Version(BEFORE_GO_US, tuple(lines))]
        self._next = max((line.instance for line in self._versions[0].lines), default=-1) + 1
        for at_us, text in requests:
            now_us = max(at_us, self._versions[-1].since_us)
            self._versions.append(Version(now_us, self._amended(text, now_us)))

    def standing(self) -> dict[Line, list[Interval]]:
        """When each fault of messages is in force, from go to the end, in order."""
        found: dict[int, tuple[Line, list[Interval]]] = {}
        for version, until_us in self._spans():
            for line in version.lines:
                if line.rule is not None:
                    _, intervals = found.setdefault(line.instance, (line, []))
                    for begin_us, end_us in self._occurrences(version, line, until_us):
                        cut = Interval(max(begin_us, version.since_us, 0), min(end_us, until_us, self._end_us))
                        _add(intervals, cut)
        return {line: intervals for line, intervals in found.values() if intervals}

    def due(self) -> list[Due]:
        """The faults of processes that are due from go to the end, in order of time."""
        found = [
            Due(begin_us, line, self._pause_end_us(place, line, end_us))
            for place, (version, until_us) in enumerate(self._spans())
            for line in version.lines
            if line.process is not None
            for begin_us, end_us in self._occurrences(version, line, until_us)
            if version.since_us < begin_us <= min(until_us, self._end_us)
        ]
        return sorted(found, key=lambda due: due.at_us)

    def _spans(self) -> Iterator[tuple[Version, int]]:
        """Each version of the plan, and when the next one takes its place."""
        ends_us = [version.since_us for version in self._versions[1:]] + [NEVER_US]
        return zip(self._versions, ends_us, strict=True)

    def _occurrences(self, version: Version, line: Line, until_us: int) -> Iterator[Interval]:
        return line.occurrences(version.healed_us(line), self._for_us, min(until_us, self._end_us))

    def _pause_end_us(self, place: int, line: Line, end_us: int) -> int:
        for version in self._versions[place + 1 :]:
            if version.since_us >= end_us:
                break
            kept = next((other for other in version.lines if other.instance == line.instance), None)
            end_us = version.since_us if kept is None else min(end_us, version.healed_us(kept))
        return end_us

    # Requests

    def _amended(self, request: str, now_us: int) -> tuple[Line, ...]:
        verb, _, rest = request.strip().partition(" ")
        version = self._versions[-1]
        if verb == "heal":
            return tuple(line for line in version.lines if line.start_us > now_us)
        kept = [line for line in version.lines if not self._is_over(version, line, now_us)]
        if verb == "set":
            return tuple(self._set(kept, [piece for piece in rest.split(";") if piece.split()], now_us))
        if verb == "clear":
            return tuple(line for line in kept if not _is_meant(rest.strip(), line))
        raise EvidenceError(f"a request {request!r} changed the plan, and this judge does not understand it")

    def _is_over(self, version: Version, line: Line, now_us: int) -> bool:
        """Whether nothing of the line goes on or is to come after `now_us`."""
        if line.name == "heal":
            return line.start_us <= now_us
        healed_us = version.healed_us(line)
        last_us = line.last_us(healed_us, self._for_us)
        is_never = line.process is None and last_us >= healed_us
        return is_never or min(healed_us, last_us + line.lasts_us) <= now_us

    def _set(self, lines: list[Line], texts: Sequence[str], now_us: int) -> list[Line]:
        for text in texts:
            line = read_line(text)
            place = next((at for at, old in enumerate(lines) if _replaces(line, old)), len(lines))
            if line.is_lasting and line.rule is not None and line.rule.is_noop:
                lines[place : place + 1] = []
                continue
            if line.rule is None or not line.start_us < 0:  # it is dated
                line = line.later(max(line.start_us + now_us, now_us + 1 if line.process is not None else 0))
            lines[place : place + 1] = [line.numbered(self._next)]
            self._next += 1
        return lines


def _replaces(new: Line, old: Line) -> bool:
    return new.is_lasting and old.is_lasting and new.name == old.name


def _is_meant(what: str, line: Line) -> bool:
    """Whether `clear WHAT` takes the line out."""
    if what.startswith("#"):
        return what[1:] == str(line.instance)
    return line.name == what if what in NAMES else line.name != "heal" and line.meaning == meaning_of(what)


def _add(intervals: list[Interval], added: Interval) -> None:
    """Put one behind those that come before it; it goes on with the last one where they touch."""
    if added.begin_us >= added.end_us:
        return
    if intervals and intervals[-1].end_us >= added.begin_us:
        intervals[-1] = Interval(intervals[-1].begin_us, max(added.end_us, intervals[-1].end_us))
    else:
        intervals.append(added)


Standing = frozenset[tuple[int, object]]
"""Faults that are in force together: instance and meaning."""


def when_in_force(standing: dict[Line, list[Interval]], end_us: int) -> dict[Standing, list[Interval]]:
    """The times at which exactly these faults are in force, for each set of faults that ever is."""
    edges: dict[int, set[tuple[int, object]]] = defaultdict(set)
    for line, intervals in standing.items():
        for begin_us, stop_us in intervals:
            edges[begin_us] ^= {(line.instance, line.meaning)}
            edges[stop_us] ^= {(line.instance, line.meaning)}
    found: dict[Standing, list[Interval]] = defaultdict(list)
    now: Standing = frozenset()
    edges[0] |= set()
    edges[end_us] |= set()
    for begin_us, stop_us in pairwise(sorted(edges)):
        now ^= edges[begin_us]
        found[now].append(Interval(begin_us, stop_us))
    return found
