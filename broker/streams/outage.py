"""How long a server has been away, as one process sees it: one line when it goes, one when it is back, and an end when
it does not come back. No command is sent from here.

A process that waits for its server tells a `ServerWatch` of each answer and of each silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

AWAY_LIMIT_S: Final = 60.0
"""A server that has not answered for so long is gone for good."""

NOTICED_S: Final = 1.0
"""A shorter silence is not reported: a server that is started again costs no line."""


class ServerGone(Exception):
    """The server is gone for good; the message is one line."""


class ServerWatch:
    """`report` gets the lines. `limit_s` None: the server is waited for without an end. `now_s` is a monotonic clock's
    reading in seconds. An outage begins with the first silence: a process that did not ask, because it was stopped
    itself, knows nothing of the time before."""

    def __init__(
        self,
        report: Callable[[str], None],
        limit_s: float | None = AWAY_LIMIT_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._limit_s = limit_s
        self._now_s = now_s
        self._since_s: float | None = None  # of the outage that goes on
        self._is_reported = False

    @property
    def away_s(self) -> float:
        """For how long the server has not answered."""
        return 0.0 if self._since_s is None else self._now_s() - self._since_s

    def answered(self) -> None:
        """The server has answered just now."""
        if self._is_reported:
            self._report(f"the server answers again, after {self.away_s:.0f} s")
        self._since_s, self._is_reported = None, False

    def silent(self) -> None:
        """The server has just not answered. Raises ServerGone when it has not done so for the whole limit."""
        if self._since_s is None:
            self._since_s = self._now_s()
        away_s = self.away_s
        demand_answer(away_s, self._limit_s)
        if away_s >= NOTICED_S and not self._is_reported:
            self._is_reported = True
            at_most = "" if self._limit_s is None else f", at most {self._limit_s:g} s"
            self._report(f"the server does not answer; waiting for it{at_most}")


def demand_answer(away_s: float, limit_s: float | None = AWAY_LIMIT_S) -> None:
    """Raise ServerGone when a server has been away for `limit_s`."""
    if limit_s is not None and away_s >= limit_s:
        raise ServerGone(f"the server has not answered for {limit_s:g} s; it is not waited for any longer")
