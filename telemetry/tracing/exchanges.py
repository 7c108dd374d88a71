"""The fold over all that happens in a run, live or recorded, into traces of its exchanges.

A trace is given out once, when its exchange is complete: it has ended, every message that was sent has its fate, every
copy was taken, and every summary that was taken is answered. What stays incomplete (a life was killed, events were
lost) is given out when the run's own time is a second past its last piece. That time is the least of what the living
robots have reported, not the time of the process that reads: a reader that is slow must not take what it has not read
yet for lost. What comes later still is given out as spans without a root, below the same parents.

The order in which pieces come plays no part, but for events of one life, which come in their order. Memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from msgspec.structs import replace

from telemetry.events import (
    ExchangeEnded,
    InvariantViolated,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    Stamped,
)
from telemetry.record.clocks import Envelope, envelope_of
from telemetry.record.history import History
from telemetry.record.rows import ControlRow, DeathRow, FateRow, PlanRow
from telemetry.tracing.clocks import Clocks
from telemetry.tracing.exchange_spans import RunEvidence, trace_of
from telemetry.tracing.lives import Lives, Plans
from telemetry.tracing.pieces import CopyTaken, Pieces
from telemetry.tracing.readiness import GRACE_US, RunTime, is_complete, is_ready
from telemetry.tracing.spans import Span, Trace

MOST_OPEN: Final = 50_000  # exchanges; above that the oldest are given out as they are
MOST_EARLY: Final = 10_000  # envelopes that are known by what followed from them alone

REMEMBERED_US: Final = 60_000_000  # of the run's time
MOST_REMEMBERED: Final = 20_000  # exchanges
MOST_FORGOTTEN: Final = 200_000  # whose ids alone are known

_Add = Callable[[Pieces], None]


def traces_of(history: History, shift_us: int = 0) -> Iterator[Trace]:
    """The traces of all exchanges of a run so far, by when they began. `shift_us` is added to all times
    (`clocks.shift_us_of`)."""
    fold = ExchangeFold(history.settings.run, history.settings.seed, Clocks(shift_us))
    for control in history.controls:
        fold.control(control)
    for row in history.fates:
        if isinstance(row, FateRow):
            fold.fate(row)
    for fleet_row in history.fleet:
        if isinstance(fleet_row, DeathRow):
            fold.death(fleet_row)
    for stamped in history.events:
        fold.event(stamped)
    return iter(fold.finish())


class ExchangeFold:
    """Of the run `run`, which was dealt with `seed`. With `clocks` events are on the server's clock already;
    without, how far their own clocks are ahead becomes known on the way. `late` counts pieces of exchanges that were
    forgotten already."""

    def __init__(self, run: str, seed: int, clocks: Clocks | None = None) -> None:
        self.late = 0
        self._is_learning_clocks = clocks is None
        self._evidence = RunEvidence(run, seed, clocks or Clocks(), Lives(), Plans())
        self._time = RunTime(self._evidence.lives)
        self._open: dict[str, Pieces] = {}  # the oldest first
        self._memory = _Memory()
        self._exchanges: dict[Envelope, str] = {}
        self._early: dict[Envelope, list[_Add]] = {}
        self._handlers: dict[type, Callable[[Stamped, Any], None]] = {
            MessageSent: self._on_sent,
            MessageDropped: self._on_sent,
            MessageReceived: self._on_received,
            MessageRefused: self._on_refused,
            MessageRepeated: self._on_repeated,
            PartsMerged: self._on_merged,
            InvariantViolated: self._on_merged,
            ExchangeEnded: self._on_ended,
        }

    # What happens

    def event(self, stamped: Stamped) -> None:
        """An event, each once; of one life in their order."""
        self._evidence.lives.event(stamped)
        self._time.event(stamped)
        handler = self._handlers.get(type(stamped.event))
        if handler is not None:
            handler(stamped, stamped.event)

    def fate(self, row: FateRow) -> None:
        """A fate; the same twice does no harm."""
        envelope = envelope_of(row)
        if envelope is None or row.exchange is None:
            return
        pieces = self._pieces(row.exchange)
        if pieces is not None:
            pieces.add_fate(envelope, row)
            self._know(envelope, pieces)

    def control(self, row: ControlRow) -> None:
        """An entry of plan.jsonl; the same twice does no harm."""
        if isinstance(row, PlanRow):
            self._evidence.plans.control(row)

    def death(self, row: DeathRow) -> None:
        """A death of any process; the same twice does no harm."""
        self._evidence.lives.death(row)

    # What is ready

    def complete(self) -> list[Trace]:
        """Since the last call: the traces that are complete, or that nothing more is expected of; and, as traces
        without a root, what came late for others."""
        late = list(self._memory.late(self._evidence, self._time))
        now_us, lives = self._time.now_us(), self._evidence.lives
        ready = [pieces for pieces in self._open.values() if is_ready(pieces, lives, self._time, now_us)]
        if len(self._open) - len(ready) > MOST_OPEN:
            ready = list(self._open.values())[: len(self._open) - MOST_OPEN]
        traces = self._give_out(ready, now_us)
        for pieces in self._memory.forget(now_us):
            self._forget(pieces)
        return [*late, *traces]

    def finish(self) -> list[Trace]:
        """All that was not given out yet, by when it began. Nothing more will come."""
        late = list(self._memory.late(self._evidence, self._time, is_over=True))
        traces = self._give_out(list(self._open.values()), self._time.now_us())
        return [*late, *sorted(traces, key=lambda trace: (trace.spans[0].start_us, trace.spans[0].trace))]

    def _give_out(self, ready: list[Pieces], now_us: int) -> list[Trace]:
        given_out = []
        for pieces in ready:
            del self._open[pieces.exchange]
            if pieces.is_of_the_run:
                given_out.append(self._memory.give_out(pieces, self._evidence, now_us))
            else:
                self._forget(pieces)
        return given_out

    def _forget(self, pieces: Pieces) -> None:
        for envelope in (*pieces.sent, *pieces.fates, *(taken.envelope for taken in pieces.received)):
            self._exchanges.pop(envelope, None)

    # Where a piece belongs

    def _pieces(self, exchange: str) -> Pieces | None:
        """The pieces that one more is to be added to; None when it comes too late."""
        pieces = self._open.get(exchange) or self._memory.changing(exchange)
        if pieces is not None:
            return pieces
        if self._memory.has_forgotten(exchange):
            self.late += 1
            return None
        pieces = self._open[exchange] = Pieces(exchange)
        return pieces

    def _know(self, envelope: Envelope, pieces: Pieces) -> None:
        """From now on it is known to which exchange an envelope belongs."""
        self._exchanges[envelope] = pieces.exchange
        for add in self._early.pop(envelope, ()):
            add(pieces)
        sent, row = pieces.sent.get(envelope), pieces.fates.get(envelope)
        if self._is_learning_clocks and sent is not None and row is not None and isinstance(sent[1], MessageSent):
            self._evidence.clocks.offsets.observe(envelope[:2], sent[0].wall_us, sent[1].waited_us, row.id)

    def _add_to(self, envelope: Envelope, add: _Add) -> None:
        """Add to the exchange of an envelope, as soon as that is known."""
        exchange = self._exchanges.get(envelope)
        if exchange is not None:
            pieces = self._pieces(exchange)
            if pieces is not None:
                add(pieces)
            return
        self._early.setdefault(envelope, []).append(add)
        if len(self._early) > MOST_EARLY:
            del self._early[next(iter(self._early))]

    def _on_sent(self, stamped: Stamped, event: MessageSent | MessageDropped) -> None:
        pieces = self._pieces(event.exchange)
        if pieces is not None:
            self._know(pieces.add_sent(stamped, event), pieces)

    def _on_received(self, stamped: Stamped, event: MessageReceived) -> None:
        pieces = self._pieces(event.exchange)
        if pieces is not None:
            self._know(pieces.add_received(stamped, event), pieces)

    def _on_refused(self, stamped: Stamped, event: MessageRefused) -> None:
        pieces = self._pieces(event.exchange) if event.exchange else None
        if pieces is not None:
            pieces.add_refused(stamped, event)

    def _on_repeated(self, stamped: Stamped, event: MessageRepeated) -> None:
        taken = _taken(stamped, event)
        self._add_to(taken.envelope, lambda pieces: pieces.add_repeated(taken, stamped))

    def _on_merged(self, stamped: Stamped, event: PartsMerged | InvariantViolated) -> None:
        taken = _taken(stamped, event)
        self._add_to(taken.envelope, lambda pieces: pieces.add_merged(taken, stamped, event))

    def _on_ended(self, stamped: Stamped, event: ExchangeEnded) -> None:
        pieces = self._pieces(event.exchange)
        if pieces is not None:
            pieces.add_ended(stamped, event)


def _taken(stamped: Stamped, event: MessageRepeated | PartsMerged | InvariantViolated) -> CopyTaken:
    envelope = (event.sender, event.sender_incarnation, stamped.source, event.sequence)
    return CopyTaken(envelope, event.copy, stamped.incarnation)


class _GivenOut:
    """One exchange."""

    def __init__(self, pieces: Pieces, at_us: int, spans: Iterable[Span]) -> None:
        self.pieces = pieces
        self.at_us = at_us
        self._starts_us = {span.span: span.start_us for span in spans}  # as they were given out

    def new_spans(self, trace: Trace) -> Iterator[Span]:
        """The spans that were not given out yet. What became known since may have moved their parents, which are out
        already: they begin no earlier than those did."""
        for span in trace.spans:
            if span.span in self._starts_us:
                continue
            start_us = max(span.start_us, self._starts_us.get(span.parent or 0, span.start_us))
            self._starts_us[span.span] = start_us
            yield replace(span, start_us=start_us, end_us=max(start_us, span.end_us))


class _Memory:
    """The exchanges that were given out: what comes late for them is given out below the same parents, and each span
    once. An exchange is forgotten after a while; then only its id is known, so that it is not opened anew."""

    def __init__(self) -> None:
        self._given_out: dict[str, _GivenOut] = {}  # the oldest first
        self._changed: dict[str, int | None] = {}  # since when, by the run's time; None: since just now
        self._forgotten: dict[str, None] = {}

    def give_out(self, pieces: Pieces, evidence: RunEvidence, now_us: int) -> Trace:
        """The whole trace, once."""
        trace = trace_of(pieces, evidence)
        self._given_out[pieces.exchange] = _GivenOut(pieces, now_us, trace.spans)
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

    def late(self, evidence: RunEvidence, time: RunTime, *, is_over: bool = False) -> Iterator[Trace]:
        """What came late, without roots: when it is complete, or nothing more came for a while, or the run is over."""
        now_us = time.now_us()
        for exchange, since_us in list(self._changed.items()):
            known = self._given_out[exchange]
            waits_since_us = self._changed[exchange] = now_us if since_us is None else since_us
            if not is_over and not is_complete(known.pieces, time) and now_us - waits_since_us <= GRACE_US:
                continue
            del self._changed[exchange]
            new = tuple(known.new_spans(trace_of(known.pieces, evidence)))
            if new:
                yield Trace(new)

    def forget(self, now_us: int) -> list[Pieces]:
        """Forget what was given out long ago; what is forgotten is returned. What a partition holds back keeps its
        exchange known for as long as there is room."""
        excess = len(self._given_out) - MOST_REMEMBERED
        old: list[str] = []
        for exchange, known in self._given_out.items():
            is_too_much = len(old) < excess
            if not is_too_much and now_us - known.at_us <= REMEMBERED_US:
                break  # those that follow are newer
            is_held = not known.pieces.sent.keys() <= known.pieces.fates.keys()
            if exchange not in self._changed and (is_too_much or not is_held):
                old.append(exchange)
        return [self._drop(exchange) for exchange in old]

    def _drop(self, exchange: str) -> Pieces:
        self._forgotten[exchange] = None
        if len(self._forgotten) > MOST_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]
        return self._given_out.pop(exchange).pieces
