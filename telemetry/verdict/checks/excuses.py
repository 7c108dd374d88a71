"""How late a leader may be, and why it may have been later, or may have left something out: what the record shows of
outages, takeovers and stalls.

What is due may happen up to 5 s late, and 1 s early by the server's clock. A simulated leader has one clock with all
others, and takes a step every 10 ms: it is late by some steps only, counted from when the server is back.

While the server is away, nothing can be published or recorded: from an injection on it, or its death, until it stamps
an entry again. It was away as well, or the whole host stood still, where the server of a live run stamped no entry of
the run for a second. The fleet log records for how long no supervisor led the run, if that was more than a second. A
supervisor that takes over leaves out what came and went meanwhile, and may have repeated what its predecessor had just
done. A leader that got no time from its host reports how long that was. After a host's clock was set (clock_steps.py),
times since `go` are not known. Judges nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import Final

from telemetry.events import SupervisorBegan, SupervisorStalled
from telemetry.verdict.case import Case
from telemetry.verdict.checks.clock_steps import clock_steps
from telemetry.verdict.checks.witnesses import CLOCKS_DIFFER_US
from telemetry.verdict.evidence.fleet import SERVER, ms_of
from telemetry.verdict.evidence.schema import DeathRow, InjectionRow

LATE_MS: Final = 5_000
"""So much later than planned may something happen."""

EARLY_MS: Final = 1_000
"""So much earlier: the leader's clock and the server's may differ."""

STEPS_MS: Final = 50
"""Some steps of a simulated leader."""

SILENCE_MS: Final = 1_000
"""For so long a server that works stamps no entry only when nothing goes on at all."""

_ROUNDING_MS: Final = 2  # entries are stamped in milliseconds
_LEAVING_MS: Final = 1_500  # from the row of an injection on the server until it works no more; live
_CLOCKS_MS: Final = CLOCKS_DIFFER_US // 1000
_TAKEOVER_MS: Final = _CLOCKS_MS + 1_000  # until a successor begins; after more than a second, a gap is recorded


class Excuses:
    """What happened to server and leader in a run, and how much that excuses."""

    def __init__(self, case: Case) -> None:
        self._is_lost = case.is_lost
        self.stamps_ms = sorted(
            {
                *(sent_ms for _, sent_ms, _ in case.traffic.entries),
                *(ms_of(row.id) for row in case.plan),
                *(ms_of(row.id) for row in case.fleet.rows),
                *(ms_of(order.id) for order in case.streams.orders),
            }
        )
        """When the server stamped an entry of any stream, in order."""
        self.is_simulated = case.settings.mode == "simulated"
        self.early_ms = _ROUNDING_MS if self.is_simulated else EARLY_MS
        """How much too early something may happen."""
        pairs = [] if self.is_simulated else pairwise(self.stamps_ms)
        self._silences = [(one, other) for one, other in pairs if other - one >= SILENCE_MS]
        self._leaving_ms = 0 if self.is_simulated else _LEAVING_MS
        self._end_ms = case.end_ms
        self._outages_ms = [
            self._outage_ms(row)
            for row in case.fleet.rows
            if row.victim == SERVER and not (isinstance(row, InjectionRow) and row.verb == "resume")
        ]
        self._stalls_us = [
            (stamped.wall_us - stamped.event.stalled_us - CLOCKS_DIFFER_US, stamped.wall_us + CLOCKS_DIFFER_US)
            for stamped in case.events
            if isinstance(stamped.event, SupervisorStalled)
        ]
        steps = (step for step in clock_steps(case) if abs(step.by_us) >= CLOCKS_DIFFER_US)
        self._first_step_ms = min((step.from_us // 1000 for step in steps), default=None)
        self._gaps_ms = case.fleet.gaps
        self._takeovers_ms = [
            stamped.wall_us // 1000
            for stamped in case.events
            if isinstance(stamped.event, SupervisorBegan) and stamped.event.is_successor
        ]

    def between(self, start_ms: int, end_ms: int) -> str:
        """What may have kept the leader from its work in that time; empty when nothing shows that anything did."""
        excuse = self.apart_from_stalls(start_ms, end_ms)
        return excuse or ("the leader reports that it stalled" if self.stalled_ms(start_ms, end_ms) else "")

    def stalled_ms(self, start_ms: int, end_ms: int) -> int:
        """For how long the leader reports that it stalled, in all stalls that may have touched that time."""
        touching = (stall for stall in self._stalls_us if stall[0] < end_ms * 1000 and start_ms * 1000 < stall[1])
        return sum(end_us - begin_us - 2 * CLOCKS_DIFFER_US for begin_us, end_us in touching) // 1000

    def apart_from_stalls(self, start_ms: int, end_ms: int) -> str:
        """What else than a stall may have kept it from that; empty when nothing shows that anything did."""
        if self._is_lost:
            return "the run was lost"
        if self._first_step_ms is not None and self._first_step_ms <= end_ms:
            return "a host's clock was set, or stood still while it slept, so that times since go are not known"
        if any(from_ms <= end_ms and start_ms <= until_ms + SILENCE_MS for from_ms, until_ms in self._outages_ms):
            return "the server was away"
        if any(from_ms < end_ms and start_ms < until_ms for from_ms, until_ms in self._gaps_ms):
            return "no supervisor led the run"
        if any(start_ms - _CLOCKS_MS <= at_ms <= end_ms + _TAKEOVER_MS for at_ms in self._takeovers_ms):
            return "another supervisor took over"
        if any(one < end_ms and start_ms < other for one, other in self._silences):
            return "nothing is recorded of the run for a second or more, so that the server may have been away"
        return ""

    def latest_ms(self, due_ms: int) -> int:
        """When something that is due happens at the latest."""
        if not self.is_simulated:
            return due_ms + LATE_MS
        for from_ms, until_ms in self._outages_ms:
            if from_ms <= due_ms + STEPS_MS and due_ms < until_ms:
                due_ms = until_ms
        return due_ms + STEPS_MS

    def away_ms(self, start_ms: int, end_ms: int) -> int:
        """For how much of that time the server was away."""
        away_ms, since_ms = 0, start_ms
        for from_ms, until_ms in self._outages_ms:
            begin_ms, stop_ms = max(from_ms, since_ms), min(until_ms, end_ms)
            if begin_ms < stop_ms:
                away_ms, since_ms = away_ms + stop_ms - begin_ms, stop_ms
        return away_ms

    def _outage_ms(self, row: InjectionRow | DeathRow) -> tuple[int, int]:
        """From an injection on the server until the end of the longest silence that begins soon after it. A death is
        recorded when the server is back."""
        at_ms = ms_of(row.id)
        if isinstance(row, DeathRow):
            return at_ms, at_ms
        first, end = bisect_left(self.stamps_ms, at_ms), bisect_right(self.stamps_ms, at_ms + self._leaving_ms)
        stamps_ms = [*self.stamps_ms[first : end + 1], *([self._end_ms] if end >= len(self.stamps_ms) else [])]
        longest = max(pairwise(stamps_ms), key=lambda pair: pair[1] - pair[0], default=(at_ms, at_ms))
        return at_ms, longest[1]
