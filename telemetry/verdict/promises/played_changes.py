"""Played, for faults of messages: what the plan wants to be in force, stands in every outbox.

At each moment from go to the order to stop, exactly those faults are in force that the plan wanted then, or shortly
before or after (checks/excuses.py). And each time at which a fault was to be in force, it was, and for as long: a
second less may pass, two seconds less is UNPROVEN. A live leader takes a step every 30 ms, and may leave out what
begins and ends between two of them. So of faults that last for less than 0.3 s some may be left out; if all are, that
is UNPROVEN. So is a fault that began less than 0.9 s before the end of the run. A simulated leader leaves nothing out.

An outage, a takeover or a stall in that time excuses: then the promise is UNPROVEN.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from telemetry.verdict.case import Case
from telemetry.verdict.checks.excuses import LATE_MS, STEPS_MS, Excuses
from telemetry.verdict.evidence.schema import PlanRow
from telemetry.verdict.evidence.traffic import Key, key_of, place_of
from telemetry.verdict.finding import Finding, broken, unproven
from telemetry.verdict.recomputed.plan_lines import ALWAYS_US, Interval, Line, meaning_of
from telemetry.verdict.recomputed.plan_times import PlanTimes, Standing, when_in_force

SHORT_US: Final = 300_000
"""A live leader may leave out what is shorter."""

END_US: Final = 900_000
"""What is due so short before the end of a live run may be missing."""

_LESS_US: Final = 1_000_000
_MUCH_LESS_US: Final = 2_000_000
"""A live fault may stand for so much less than planned; and so much less is a breach."""

_ROUNDING_US: Final = 2_000  # entries are stamped in milliseconds


class Change(NamedTuple):
    """From `at_us` after go to before `until_us` exactly these faults stand, by the entry `key`."""

    at_us: int
    until_us: int
    faults: Standing
    key: Key


def wrong_changes(case: Case, times: PlanTimes, excuses: Excuses, go_ms: int) -> Iterator[Finding]:
    """Findings on outboxes in which other faults stood than the plan wanted."""
    end_us = (case.end_ms - go_ms) * 1000
    standing = times.standing()
    wanted = when_in_force(standing, end_us)
    for shard, changes in sorted(_changes(case, go_ms, end_us).items()):
        if not changes:
            yield unproven(f"no plan is recorded of outbox {shard}")
            continue
        judge = _Outbox(case, excuses, go_ms, shard, changes)
        yield from judge.left_out(standing)
        yield from judge.not_as_planned(wanted)


def _changes(case: Case, go_ms: int, end_us: int) -> dict[int, list[Change]]:
    """What stood in each outbox from go to the end, in order; nothing where no plan is recorded."""
    entries: dict[int, dict[Key, PlanRow]] = {shard: {} for shard in case.streams.outboxes}
    for row in case.plan:
        if isinstance(row, PlanRow):
            entries.setdefault(row.shard, {})[key_of(row.shard, row.id)] = row
    found: dict[int, list[Change]] = {}
    for shard, rows in entries.items():
        keys = sorted(rows)
        times_us = [(key[1] - go_ms) * 1000 for key in keys]
        changes = []
        for key, at_us, until_us in zip(keys, times_us, [*times_us[1:], end_us], strict=False):
            faults = frozenset((fault.instance, meaning_of(fault.fault)) for fault in rows[key].faults)
            changes.append(Change(at_us, min(until_us, end_us), faults, key))
        found[shard] = [change for change in changes if change.until_us >= 0 and change.at_us <= end_us]
    return found


class _Outbox:
    """What stood in one outbox, against what the plan wants."""

    def __init__(self, case: Case, excuses: Excuses, go_ms: int, shard: int, changes: list[Change]) -> None:
        self._excuses = excuses
        self._go_ms = go_ms
        self._shard = shard
        self._changes = changes
        self._end_us = (case.end_ms - go_ms) * 1000
        self._is_abandoned = shard in case.abandoned_shards

    # What was left out

    def left_out(self, standing: dict[Line, list[Interval]]) -> Iterator[Finding]:
        """Findings on times at which a fault was to be in force, and was not."""
        for line, intervals in standing.items():
            periods = self._periods(line)
            missing = self._unmatched(periods, intervals)
            for interval in missing:
                lasts_us = interval.end_us - interval.begin_us
                if not self._excuses.is_simulated and lasts_us < SHORT_US and len(missing) < len(intervals):
                    continue
                if lasts_us > _ROUNDING_US:
                    yield self._left_out(line, interval, lasts_us)
            for interval in sorted({*intervals} - {*missing}):
                yield from self._cut_short(line, interval, periods)

    def _cut_short(self, line: Line, interval: Interval, periods: list[Interval]) -> Iterator[Finding]:
        """A finding on a fault that stood for less time than it was due, not counting that in which the server was
        away."""
        begin_us, end_us = interval
        owed_us = end_us - begin_us - self._excuses.away_ms(self._ms(begin_us), self._ms(end_us)) * 1000
        first_us, last_us = begin_us - self._excuses.early_ms * 1000, self._latest_us(end_us)
        stood_us = sum(max(0, min(stop_us, last_us) - max(start_us, first_us)) for start_us, stop_us in periods)
        missing_us = owed_us - stood_us
        if missing_us <= (STEPS_MS * 1000 if self._excuses.is_simulated else _LESS_US):
            return
        due = f"{line.text!r} was due {begin_us / 1e6:.2f} s after go for {owed_us / 1e6:.2f} s"
        why = f"{due}, and stood for {stood_us / 1e6:.2f} s in outbox {self._shard}"
        if not self._excuses.is_simulated and missing_us < _MUCH_LESS_US:
            yield unproven(f"{why}: the leader may have been too slow")
        else:
            yield self._unless_excused(why, f"fault {line.instance}", begin_us, last_us)

    def _left_out(self, line: Line, interval: Interval, lasts_us: int) -> Finding:
        due = f"{line.text!r} was due {interval.begin_us / 1e6:.2f} s after go for {lasts_us / 1e6:.2f} s"
        why = f"{due}, and never stood in outbox {self._shard}"
        is_at_the_end = interval.begin_us + END_US > self._end_us
        if not self._excuses.is_simulated and (lasts_us < SHORT_US or is_at_the_end):
            return unproven(f"{why}: the leader may have been too slow")
        until_us = min(interval.end_us, interval.begin_us + LATE_MS * 1000)
        return self._unless_excused(why, f"fault {line.instance}", interval.begin_us, until_us)

    def _periods(self, line: Line) -> list[Interval]:
        """When the fault stood."""
        periods: list[Interval] = []
        fault = line.instance, line.meaning
        for change in self._changes:
            if fault not in change.faults:
                continue
            if periods and periods[-1].end_us == change.at_us:
                periods[-1] = Interval(periods[-1].begin_us, change.until_us)
            else:
                periods.append(Interval(change.at_us, change.until_us))
        return periods

    def _unmatched(self, periods: list[Interval], intervals: list[Interval]) -> list[Interval]:
        """The intervals that no period overlaps, nor comes a little too late or too early for: such a period counts for
        one interval at most."""
        late, left = _apart(periods, intervals), list[Interval]()
        for interval in _apart(intervals, periods):
            first, last = interval.begin_us - self._excuses.early_ms * 1000, self._latest_us(interval.begin_us)
            match = next((period for period in late if first <= period.begin_us <= last), None)
            if match is None:
                left.append(interval)
            else:
                late.remove(match)
        return left

    # What stood

    def not_as_planned(self, wanted: dict[Standing, list[Interval]]) -> Iterator[Finding]:
        """Findings on times at which other faults stood than the plan wanted shortly before."""
        allowed = {faults: list(self._stretched(times)) for faults, times in wanted.items()}
        for change in self._changes:
            at_us = max(change.at_us, 0)
            for begin_us, end_us in allowed.get(change.faults, ()):
                if at_us < min(begin_us, change.until_us):
                    yield self._wrong(change, Interval(at_us, min(begin_us, change.until_us)), wanted)
                at_us = max(at_us, end_us)
            if at_us < change.until_us:
                yield self._wrong(change, Interval(at_us, change.until_us), wanted)

    def _stretched(self, times: list[Interval]) -> Iterator[Interval]:
        """The times at which a leader may have found what was wanted at `times`, joined where they touch."""
        begin_us = end_us = ALWAYS_US
        for time in times:
            first_us = time.begin_us - self._excuses.early_ms * 1000
            if first_us > end_us:
                if end_us > begin_us:
                    yield Interval(begin_us, end_us)
                begin_us = first_us
            end_us = self._latest_us(time.end_us)
        yield Interval(begin_us, end_us)

    def _wrong(self, change: Change, when: Interval, wanted: dict[Standing, list[Interval]]) -> Finding:
        planned = next((faults for faults, times in wanted.items() if _is_in(when.begin_us, times)), Standing())
        missing, surplus = sorted(planned - change.faults, key=_number), sorted(change.faults - planned, key=_number)
        time = f"{when.begin_us / 1e6:.2f} s after go"
        if missing:
            why = f"fault {missing[0][0]} of the plan did not stand in outbox {self._shard} {time}, and was due before"
        else:
            number = surplus[0][0] if surplus else "?"
            why = f"fault {number} stood in outbox {self._shard} {time}, and the plan did not want it then"
        findings = [self._unless_excused(why, place_of(change.key), at_us - LATE_MS * 1000, at_us) for at_us in when]
        return next((finding for finding in findings if finding.state == "BROKEN"), findings[0])

    def _unless_excused(self, why: str, witness: str, start_us: int, end_us: int) -> Finding:
        excuse = self._excuses.between(self._ms(start_us), self._ms(end_us))
        if self._is_abandoned:
            excuse = excuse or "its relay died and was not replaced"
        return unproven(f"{why}: {excuse}") if excuse else broken(why, witness)

    def _latest_us(self, due_us: int) -> int:
        return (self._excuses.latest_ms(self._ms(due_us)) - self._go_ms) * 1000

    def _ms(self, time_us: int) -> int:
        return self._go_ms + time_us // 1000


def _apart(some: list[Interval], others: list[Interval]) -> list[Interval]:
    """Those of `some` that overlap none of the `others`. Both are in order, and none overlaps its neighbour."""
    found, place = list[Interval](), 0
    for interval in some:
        while place < len(others) and others[place].end_us + _ROUNDING_US <= interval.begin_us:
            place += 1
        if place == len(others) or others[place].begin_us >= interval.end_us + _ROUNDING_US:
            found.append(interval)
    return found


def _is_in(at_us: int, times: list[Interval]) -> bool:
    return any(begin_us <= at_us < end_us for begin_us, end_us in times)


def _number(fault: tuple[int, object]) -> int:
    return fault[0]
