"""Exchanges that were given out: what comes late for them is given out below the same parents, and each span once.

Memory is bounded: an exchange is forgotten after a while, and then only its id is known, so that it is not opened anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from telemetry.tracing.exchange_spans import RunEvidence, trace_of
from telemetry.tracing.pieces import Pieces
from telemetry.tracing.spans import Trace

REMEMBERED_US: Final = 60_000_000  # of the run's time
MOST_REMEMBERED: Final = 20_000  # exchanges
MOST_FORGOTTEN: Final = 200_000  # whose ids alone are known


class _GivenOut:
    """One exchange."""

    def __init__(self, pieces: Pieces, at_us: int, spans: set[int]) -> None:
        self.pieces = pieces
        self.at_us = at_us
        self.spans = spans


class Memory:
    """Of one fold."""

    def __init__(self) -> None:
        self._given_out: dict[str, _GivenOut] = {}  # the oldest first
        self._changed: dict[str, None] = {}
        self._forgotten: dict[str, None] = {}

    def give_out(self, pieces: Pieces, evidence: RunEvidence, now_us: int) -> Trace:
        """The whole trace, once."""
        trace = trace_of(pieces, evidence)
        self._given_out[pieces.exchange] = _GivenOut(pieces, now_us, {span.span for span in trace.spans})
        return trace

    def changing(self, exchange: str) -> Pieces | None:
        """The pieces of an exchange that was given out, for one that comes late; None: it was not, or is forgotten."""
        known = self._given_out.get(exchange)
        if known is None:
            return None
        self._changed[exchange] = None
        return known.pieces

    def has_forgotten(self, exchange: str) -> bool:
        """Whether it was given out long ago."""
        return exchange in self._forgotten

    def late(self, evidence: RunEvidence) -> Iterator[Trace]:
        """What came late since the last call, without roots."""
        changed, self._changed = self._changed, {}
        for exchange in changed:
            known = self._given_out[exchange]
            new = tuple(span for span in trace_of(known.pieces, evidence).spans if span.span not in known.spans)
            if new:
                known.spans.update(span.span for span in new)
                yield Trace(new)

    def forget(self, now_us: int) -> Iterator[Pieces]:
        """Forget what was given out long ago; what is forgotten is returned. What a partition holds back keeps its
        exchange known for as long as there is room."""
        for exchange, known in list(self._given_out.items()):
            is_too_much = len(self._given_out) > MOST_REMEMBERED
            if not is_too_much and now_us - known.at_us <= REMEMBERED_US:
                return  # those that follow are newer
            if not is_too_much and not known.pieces.sent.keys() <= known.pieces.fates.keys():
                continue
            if exchange not in self._changed:
                yield self._drop(exchange)

    def _drop(self, exchange: str) -> Pieces:
        self._forgotten[exchange] = None
        if len(self._forgotten) > MOST_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]
        return self._given_out.pop(exchange).pieces
