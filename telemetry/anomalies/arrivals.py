"""Unheard robot and deaf robot: what one robot sends, or what is sent to it, does not arrive for long.

An envelope that arrives ends the row, whichever it was. An envelope counts once it is old enough to have arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from telemetry.anomalies.catalogue import DEAF_ROBOT, UNHEARD_ROBOT
from telemetry.anomalies.rule import Handle, Observed
from telemetry.events import Event, MessageReceived, MessageSent, RobotBorn, Stamped


class Arrivals:
    """Both rules. A row remembers when each of its first envelopes was read as sent, and no more of them than the rule
    needs."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._rows: dict[str, dict[str, deque[int]]] = {UNHEARD_ROBOT: {}, DEAF_ROBOT: {}}
        self._most = max(observed.thresholds.unheard, observed.thresholds.unheard_few)
        self.handlers: Mapping[type[Event], Handle] = {
            MessageSent: self._sent,
            MessageReceived: self._received,
            RobotBorn: self._born,
        }

    def check(self) -> None:
        living = {robot.name for robot in self._observed.robots.living}
        for rule, rows in self._rows.items():
            for name, row in rows.items():
                if name not in living or len(living) < 2:
                    row.clear()
                    self._observed.active.end(rule, name)
                elif self._is_long(row):
                    since_s = (self._observed.now_us - row[0]) / 1e6
                    self._observed.active.begin(rule, name, f"{len(row)} envelopes or more, for {since_s:.1f} s")

    def _is_long(self, row: deque[int]) -> bool:
        thresholds, us = self._observed.thresholds, self._observed.us
        old_us = self._observed.now_us - self._observed.silence_us(thresholds.transit_ticks)
        if len(row) >= thresholds.unheard and row[thresholds.unheard - 1] <= old_us:
            return True
        is_few = len(row) >= thresholds.unheard_few and row[thresholds.unheard_few - 1] <= old_us
        return is_few and self._observed.now_us - row[0] >= us(thresholds.unheard_few_ticks)

    def _sent(self, event: MessageSent, stamped: Stamped) -> None:
        self._add(UNHEARD_ROBOT, stamped.source)
        self._add(DEAF_ROBOT, event.receiver)

    def _add(self, rule: str, name: str) -> None:
        rows = self._rows[rule]
        row = rows.get(name)
        if row is None:
            if self._observed.robots[name] is None:
                return  # not born yet
            row = rows[name] = deque()
        if len(row) < self._most:
            row.append(self._observed.now_us)

    def _received(self, event: MessageReceived, stamped: Stamped) -> None:
        self._end(UNHEARD_ROBOT, event.sender)
        self._end(DEAF_ROBOT, stamped.source)

    def _born(self, _event: RobotBorn, stamped: Stamped) -> None:
        self._end(UNHEARD_ROBOT, stamped.source)
        self._end(DEAF_ROBOT, stamped.source)

    def _end(self, rule: str, name: str) -> None:
        row = self._rows[rule].get(name)
        if row:
            row.clear()
            self._observed.active.end(rule, name)
