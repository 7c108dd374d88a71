"""When an exchange is ready to be given out: it is complete, or nothing more is expected of it. Pure questions."""

from __future__ import annotations

from typing import Final

from telemetry.events import MessageDropped, RobotComplete, Stamped
from telemetry.record.clocks import MS_US, Life
from telemetry.record.rows import ms_of
from telemetry.tracing.lives import Lives
from telemetry.tracing.pieces import CopyTaken, Pieces

GRACE_US: Final = 1_000_000  # of the run's time, for pieces of an exchange that may still come
UNENDED_US: Final = 30_000_000  # likewise, while its initiator lives and has not ended it
SILENT_US: Final = 10_000_000  # a robot that is silent for so long does not hold back the run's time
MERGE_US: Final = 50_000  # for a receiver to report what it has merged of a copy


class RunTime:
    """How far the run itself has come: the least of what its living robots have reported. Times are those of their own
    clocks."""

    def __init__(self, lives: Lives) -> None:
        self._lives = lives
        self._newest_us = 0
        self._complete: set[Life] = set()

    def event(self, stamped: Stamped) -> None:
        """Any event."""
        self._newest_us = max(self._newest_us, stamped.wall_us)
        if isinstance(stamped.event, RobotComplete):
            self._complete.add((stamped.source, stamped.incarnation))

    def now_us(self) -> int:
        """No event before that is expected any more, but for those of a robot that is silent for too long."""
        least_us = min(self._lives.latest_us.values(), default=self._newest_us)
        return max(least_us, self._newest_us - SILENT_US)

    def has_merged(self, taken: CopyTaken, at_us: int) -> bool:
        """Whether a life that took a copy at `at_us` would have reported by now that it merged something of it."""
        life = (taken.envelope[2], taken.incarnation)
        latest_us = self._lives.latest_us.get(life)
        return latest_us is None or life in self._complete or latest_us > at_us + MERGE_US


def is_ready(pieces: Pieces, lives: Lives, time: RunTime, now_us: int) -> bool:
    """Whether the exchange is to be given out as it is. `now_us`: the run's time."""
    if is_complete(pieces, time):
        return True
    waited_us = now_us - last_due_us(pieces)
    if waited_us <= GRACE_US:
        return False
    is_reported = pieces.ended is not None and _has_summaries(pieces)
    return waited_us > UNENDED_US or is_reported or lives.is_over(pieces.initiator())


def is_complete(pieces: Pieces, time: RunTime) -> bool:
    """Whether it has ended, and all that follows from what is known is known."""
    return (
        pieces.ended is not None
        and _has_summaries(pieces)
        and _has_update(pieces)
        and all(envelope in pieces.sent for envelope in pieces.fates)
        and all(
            envelope in pieces.fates or isinstance(event, MessageDropped)
            for envelope, (_, event) in pieces.sent.items()
        )
        and _is_taken(pieces)
        and all(_is_concluded(pieces, taken, time) for taken in pieces.received)
    )


def last_due_us(pieces: Pieces) -> int:
    """When the last piece that is known came, or was due."""
    due_us = (ms_of(row.id) * MS_US + max(row.deliveries, default=0) for row in pieces.fates.values())
    return max(pieces.newest_us, max(due_us, default=0))


def _has_summaries(pieces: Pieces) -> bool:
    """Whether its initiator has reported all summaries: one may still wait for the outbox when the exchange is over."""
    assert pieces.ended is not None, "asked of exchanges that have ended"
    summaries = sum(event.kind == "summary" for _, event in pieces.sent.values())
    return summaries >= pieces.ended[1].attempts


def _has_update(pieces: Pieces) -> bool:
    """Whether the parts that the peer requested were sent."""
    assert pieces.ended is not None, "asked of exchanges that have ended"
    return not pieces.ended[1].wanted or any(
        pieces.kind_of(envelope) == "update" for envelope in (*pieces.sent, *pieces.fates)
    )


def _is_taken(pieces: Pieces) -> bool:
    """Whether every copy was taken from its inbox."""
    taken = {(copy.envelope, copy.copy) for copy in (*pieces.received, *pieces.refused)}
    return all(
        (envelope, copy) in taken for envelope, row in pieces.fates.items() for copy in range(len(row.deliveries))
    )


def _is_concluded(pieces: Pieces, taken: CopyTaken, time: RunTime) -> bool:
    """Whether a copy that was taken is answered, if it is a summary, and its parts are merged or were known."""
    stamped, event = pieces.received[taken]
    if event.kind == "summary" and taken not in pieces.replies:
        return False
    sent = pieces.sent.get(taken.envelope)
    carries_parts = sent is None or isinstance(sent[1], MessageDropped) or sent[1].parts > 0
    return not carries_parts or taken in pieces.merged or time.has_merged(taken, stamped.wall_us)
