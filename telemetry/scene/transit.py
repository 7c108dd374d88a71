"""How long envelopes were on their way lately: from their sender's report until their receiver's, by the wall clocks of
both. What waits in an outbox, at a relay and in an inbox is in it.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from telemetry.events import MessageReceived, MessageSent, Stamped
from telemetry.view import View

_MOST_OPEN: Final = 2_000  # reports without their counterpart: most of them are of envelopes that were lost
_MOST_TIMES: Final = 500

_Message = tuple[str, int, str, int]
"""Sender, its life, receiver, sequence number."""


class Percentiles(NamedTuple):
    """Of so many envelopes, in microseconds."""

    envelopes: int
    p50_us: int
    p99_us: int


class Transit:
    """The two reports of an envelope come in either order; of several copies, only the original counts."""

    def __init__(self) -> None:
        self._open: dict[_Message, int] = {}
        self._times: deque[tuple[int, int]] = deque(maxlen=_MOST_TIMES)

    def lately(self, now_us: int, span_us: int) -> Percentiles | None:
        """Of those that arrived in the last `span_us`, _MOST_TIMES at most; None when there were none."""
        times = sorted(took_us for at_us, took_us in self._times if at_us > now_us - span_us)
        if not times:
            return None
        return Percentiles(len(times), times[len(times) // 2], times[len(times) * 99 // 100])

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Take a report of an envelope."""
        event = stamped.event
        if isinstance(event, MessageSent):
            self._take((stamped.source, stamped.incarnation, event.receiver, event.sequence), stamped.wall_us, True)
        elif isinstance(event, MessageReceived) and not event.copy:
            message = event.sender, event.sender_incarnation, stamped.source, event.sequence
            self._take(message, stamped.wall_us, False)

    def copy(self) -> Transit:
        other = Transit()
        other._open, other._times = self._open.copy(), self._times.copy()
        return other

    def _take(self, message: _Message, at_us: int, is_sent: bool) -> None:
        other_us = self._open.pop(message, None)
        if other_us is None:
            self._open[message] = at_us
            if len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
            return
        sent_us, received_us = (at_us, other_us) if is_sent else (other_us, at_us)
        self._times.append((received_us, max(0, received_us - sent_us)))
