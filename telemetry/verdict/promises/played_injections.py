"""Played, for faults of processes: each that was due was injected, in time and into a process that its line means, and
nothing else was.

An injection is due at its time and has its row in the fleet log soon (checks/excuses.py). A pause that was injected
ends in time with a row `resume`, unless its process died, or a line `resume` ended it before. What was due just before
the order to stop may be missing. An injection that failed leaves the promise UNPROVEN; so does one that is missing or
surplus about an outage or a takeover.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from telemetry.verdict.case import Case
from telemetry.verdict.checks.excuses import LATE_MS, Excuses
from telemetry.verdict.checks.matching import Wanted, distance, matched
from telemetry.verdict.evidence.fleet import ms_of, robot_of
from telemetry.verdict.evidence.schema import DeathRow, InjectionRow
from telemetry.verdict.evidence.traffic import Key, key_of
from telemetry.verdict.finding import Finding, broken, unproven
from telemetry.verdict.promises.played_changes import END_US
from telemetry.verdict.recomputed.plan_lines import NEVER_US, Process, read_process
from telemetry.verdict.recomputed.plan_times import Due

RESUME: Final = "resume"
_WITNESS: Final = "fleet log, injection {}"
_DEATH_US: Final = LATE_MS * 1000  # after the end of a pause, for the death of its process to be recorded
_Kind = tuple[str, Process]
"""A verb, and the process that it is for."""


class Injected(NamedTuple):
    """An injection's row, and when it was made, after go."""

    at_us: int
    row: InjectionRow

    @property
    def key(self) -> Key:
        """Its place in the fleet log: several may be made in one millisecond."""
        return key_of(0, self.row.id)


class _Wanted(NamedTuple):
    """What must stand in the fleet log. `may_be_missing`: something else explains it if it does not."""

    at_us: int
    text: str
    may_be_missing: bool = False


def wrong_injections(case: Case, due: Iterable[Due], excuses: Excuses, go_ms: int) -> Iterator[Finding]:
    """Findings on faults of processes that were due and not injected, or the other way round."""
    yield from _Injections(case, list(due), excuses, go_ms).findings()


def injected_after_go(case: Case, go_ms: int) -> list[Injected]:
    """The injections from go on, in order, each once: an id never stands twice in a stream."""
    unique = {row.id: row for row in case.fleet.injections}
    rows = (Injected((ms_of(row.id) - go_ms) * 1000, row) for row in unique.values())
    return [injected for injected in rows if injected.at_us >= 0]


class _Injections:
    def __init__(self, case: Case, due: list[Due], excuses: Excuses, go_ms: int) -> None:
        self._case = case
        self._due = due
        self._excuses = excuses
        self._go_ms = go_ms
        self._end_us = (case.end_ms - go_ms) * 1000
        self._failed = [row for row in case.fleet.failures if ms_of(row.id) < case.end_ms]
        self._failures = Counter((failed.verb, _process(failed.target)) for failed in self._failed)
        self._early_us = excuses.early_ms * 1000
        self._grace_us = 0 if excuses.is_simulated else END_US

    def findings(self) -> Iterator[Finding]:
        rows: dict[_Kind, list[Injected]] = defaultdict(list)
        for injected in injected_after_go(self._case, self._go_ms):
            yield from _not_meant(injected.row)
            rows[injected.row.verb, _process(injected.row.target)].append(injected)
        wanted, pauses = self._wanted(), list[tuple[Injected, int]]()
        for kind in sorted(wanted.keys() | rows.keys(), key=str):
            if kind[0] != RESUME:
                ends_us = [due.end_us for due in self._due if kind == (due.line.name, due.line.process)]
                matches = self._matched(wanted[kind], rows[kind])
                pauses += [(rows[kind][at], ends_us[number]) for number, at in matches.items() if kind[0] == "pause"]
                yield from self._unmatched(kind, wanted[kind], rows[kind], matches)
        next_keys = _next_keys([pause for pause, _ in pauses])
        for pause, end_us in pauses:
            victim = _process(pause.row.victim)
            early = (each for each in rows[RESUME, victim] if pause.key < each.key < next_keys[pause.row.id])
            is_ended_before = any(each.at_us < end_us for each in early)
            wanted[RESUME, victim].append(self._end_of_pause(pause, end_us, is_ended_before))
        for kind in sorted(wanted.keys() | rows.keys(), key=str):
            if kind[0] == RESUME:
                wanted[kind].sort()
                matches = self._matched(wanted[kind], rows[kind])
                yield from self._unmatched(kind, wanted[kind], rows[kind], matches)
        for failed in self._failed:
            yield unproven(f"an injection failed: {failed.verb} {failed.target} ({failed.why})")

    def _wanted(self) -> dict[_Kind, list[_Wanted]]:
        wanted: dict[_Kind, list[_Wanted]] = defaultdict(list)
        for due in self._due:
            assert due.line.process is not None
            wanted[due.line.name, due.line.process].append(_Wanted(due.at_us, due.line.text))
        return wanted

    def _end_of_pause(self, pause: Injected, end_us: int, is_ended_before: bool) -> _Wanted:
        """A pause whose process died is over, and so is one that a line `resume` has ended."""
        died_us = (
            (ms_of(row.id) - self._go_ms) * 1000
            for row in self._case.fleet.rows
            if isinstance(row, DeathRow) and pause.row.victim in (row.victim, row.robot, robot_of(row.victim))
        )
        is_over = is_ended_before or any(pause.at_us <= at_us <= end_us + _DEATH_US for at_us in died_us)
        is_over |= (pause.row.verb, pause.row.target) in self._case.failed_injections
        return _Wanted(end_us, f"the end of {pause.row.verb} {pause.row.victim}", is_over)

    def _matched(self, wanted: list[_Wanted], rows: list[Injected]) -> dict[int, int]:
        """The row of each that is wanted, by their places. What must have come goes before what something excuses, and
        that before what may be missing; then what has a row nearby goes first."""
        came_us = [row.at_us for row in rows]
        windows = [Wanted(each.at_us, each.at_us - self._early_us, self._latest_us(each.at_us)) for each in wanted]

        def rank(number: int) -> tuple[bool, bool, int]:
            each = wanted[number]
            is_excused = bool(self._excuse(each.at_us, windows[number].last_us))
            return not self._is_owed(each), is_excused, distance(each.at_us, came_us)

        return matched(windows, came_us, sorted(range(len(wanted)), key=rank))

    def _unmatched(
        self, kind: _Kind, wanted: list[_Wanted], rows: list[Injected], matches: dict[int, int]
    ) -> Iterator[Finding]:
        """Findings on what is missing or surplus. Where as many failed, that may be why: no row shows which."""
        missing = [each for number, each in enumerate(wanted) if number not in matches and self._is_owed(each)]
        unexcused = [each for each in missing if not self._excuse(each.at_us, self._latest_us(each.at_us))]
        if len(unexcused) <= self._failures[kind]:  # what an outage excuses used up none of them
            missing = [each for each in missing if each not in unexcused]
        for at_us, text, _ in missing:
            why = f"{text!r} was due {at_us / 1e6:.2f} s after go, and was not injected"
            yield self._unless_excused(why, f"{text}, due {at_us / 1e6:.2f} s after go", at_us, self._latest_us(at_us))
        surplus = [rows[place] for place in sorted(set(range(len(rows))) - set(matches.values()))]
        for at_us, row in surplus if len(surplus) > self._failures[kind] else ():
            why = f"{row.verb} {row.victim} was injected {at_us / 1e6:.2f} s after go, and was not wanted then"
            yield self._unless_excused(why, _WITNESS.format(row.id), at_us - LATE_MS * 1000, at_us)

    def _is_owed(self, wanted: _Wanted) -> bool:
        return not wanted.may_be_missing and wanted.at_us + self._grace_us < self._end_us

    def _unless_excused(self, why: str, witness: str, start_us: int, end_us: int) -> Finding:
        excuse = self._excuse(start_us, end_us)
        return unproven(f"{why}: {excuse}") if excuse else broken(why, witness)

    def _latest_us(self, due_us: int) -> int:
        return (self._excuses.latest_ms(self._go_ms + due_us // 1000) - self._go_ms) * 1000

    def _excuse(self, start_us: int, end_us: int) -> str:
        return self._excuses.between(self._go_ms + start_us // 1000, self._go_ms + end_us // 1000)


def _next_keys(pauses: list[Injected]) -> dict[str, Key]:
    """By the id of each pause, the place of the next pause of its victim: a resume in between belongs to the former."""
    found: dict[str, Key] = {}
    following: dict[str, Key] = {}
    for pause in sorted(pauses, key=lambda pause: pause.key, reverse=True):
        found[pause.row.id] = following.get(pause.row.victim, (0, NEVER_US, 0))
        following[pause.row.victim] = pause.key
    return found


def _not_meant(row: InjectionRow) -> Iterator[Finding]:
    """A finding when an injection went to a process that its line does not mean."""
    if not _process(row.target).includes(_process(row.victim)):
        yield broken(f"{row.verb} {row.target} was injected into {row.victim}", _WITNESS.format(row.id))


def _process(text: str) -> Process:
    """The process of that name; one that this judge does not know is of a kind of its own."""
    try:
        return read_process(text)
    except ValueError:
        return Process(text)
