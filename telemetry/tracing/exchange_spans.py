"""The trace of one exchange: a pure function of its pieces. Same pieces, same spans, to the last bit.

    exchange                       its initiator        from the first summary on, to the exchange's end
      send summary, send update    its initiator        offered by a worker → known to be in the outbox
        relay summary …            the shard's relay    in the outbox → the last copy was put out
          process summary …        the receiver         taken from the inbox → answered (an answer: concluded)
            merge                  the receiver         taken → journalled and published; only where parts were new
            send answer            the receiver         below the very copy that it answers
          refuse summary …         the receiver         a damaged copy

An update is below the exchange, not below the answer that requested it: its initiator sends it. A message whose own
report was lost with its sender is drawn by its fate (`gossip.witness`). Times of the server are whole milliseconds,
rounded down; a span begins no earlier than its parent, and ends no earlier than it begins.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from telemetry.events import InvariantViolated, MessageDropped
from telemetry.record.clocks import MS_US, Envelope
from telemetry.record.rows import FateRow
from telemetry.tracing import attributes
from telemetry.tracing.builder import Placed, TraceBuilder
from telemetry.tracing.clocks import Clocks
from telemetry.tracing.ids import exchange_trace_id, run_trace_id, span_id
from telemetry.tracing.lives import Lives, Plans
from telemetry.tracing.pieces import CopyTaken, Pieces
from telemetry.tracing.spans import Link, Span, SpanEvent, SpanKind, Trace

KILLED: Final = "killed"
ABANDONED: Final = "abandoned"
UNFINISHED: Final = "unfinished"
ERRORS: Final = ("timeout", KILLED, ABANDONED)
"""Outcomes that are errors. `killed`: its initiator died before the end; `abandoned`: its initiator's worker crashed.
`unfinished` is none: its initiator left in order, or goes on."""

_KINDS: Final = ("summary", "answer", "update")


class RunEvidence(NamedTuple):
    """What all exchanges of a run share."""

    run: str
    seed: int
    clocks: Clocks
    lives: Lives
    plans: Plans


def trace_of(pieces: Pieces, evidence: RunEvidence) -> Trace:
    """The whole trace of an exchange, the root first."""
    return _Derivation(pieces, evidence).trace()


def merge_span_id(trace: int, taken: CopyTaken) -> int:
    """The span in which the parts of a copy were merged."""
    return span_id(trace, "merge", *taken.envelope, taken.copy, taken.incarnation)


def plan_span_id(run: str, seed: int, shard: int, entry: str) -> int:
    """The span of a plan, in the run's own trace."""
    return span_id(run_trace_id(run, seed), "plan", shard, entry)


class _Derivation:
    """Of one exchange: spans are added in an order in which every parent comes before its children."""

    def __init__(self, pieces: Pieces, evidence: RunEvidence) -> None:
        self._pieces = pieces
        self._evidence = evidence
        self._clocks = evidence.clocks
        self._trace = exchange_trace_id(evidence.run, evidence.seed, pieces.exchange)
        self._builder = TraceBuilder(self._trace)
        self._initiator = pieces.initiator()
        self._taken: dict[Envelope, list[CopyTaken]] = defaultdict(list)
        for taken in sorted({*pieces.received, *pieces.refused, *pieces.merged}):
            self._taken[taken.envelope].append(taken)
        self._envelopes: dict[str, list[Envelope]] = {kind: [] for kind in _KINDS}
        for envelope in sorted({*pieces.sent, *pieces.fates, *(taken.envelope for taken in pieces.received)}):
            self._envelopes.setdefault(pieces.kind_of(envelope), []).append(envelope)
        self._root = Placed(span_id(self._trace, "exchange"), self._begin_us())
        self._outcome, self._end_us = self._end()
        self._processes: dict[CopyTaken, Placed] = {}

    def trace(self) -> Trace:
        for kind, envelopes in self._envelopes.items():
            for envelope in envelopes:
                self._draw(kind, envelope)
        return Trace((self._exchange(), *self._builder.spans))

    def _draw(self, kind: str, envelope: Envelope) -> None:
        """All spans of one message."""
        pieces, row = self._pieces, self._pieces.fates.get(envelope)
        parent = self._root
        if envelope in pieces.sent or row is not None:
            parent = self._send(kind, envelope, row)
        if row is not None:
            parent = self._relay(kind, envelope, row, parent)
        for taken in self._taken.get(envelope, ()):
            receiver = parent
            if taken in pieces.received:
                receiver = self._processes[taken] = self._process(kind, taken, parent)
            if taken in pieces.merged:
                self._merge(taken, receiver)
            if taken in pieces.refused and row is not None and row.fate == "corrupt":
                self._refuse(kind, taken, parent)

    # The exchange

    def _begin_us(self) -> int:
        """When its first message was offered to the outbox, as far as is known."""
        pieces, clocks = self._pieces, self._clocks
        times = [clocks.of_event(stamped) - event.waited_us for stamped, event in pieces.sent.values()]
        times += [clocks.of_entry(row.id) for envelope, row in pieces.fates.items() if envelope not in pieces.sent]
        if not times and pieces.ended is not None:
            times.append(clocks.of_event(pieces.ended[0]) - pieces.ended[1].took_us)
        return min(times, default=0)

    def _end(self) -> tuple[str, int | None]:
        """Its outcome, and when it ended."""
        lives, clocks = self._evidence.lives, self._clocks
        if self._pieces.ended is not None:
            stamped, ended = self._pieces.ended
            return ended.outcome, clocks.of_event(stamped)
        crashed_us = lives.crashed_us(self._initiator, self._root.start_us, clocks)
        if crashed_us is not None:
            return ABANDONED, crashed_us
        died_us = lives.died_us(self._initiator, clocks)
        return (UNFINISHED, None) if died_us is None else (KILLED, died_us)

    def _exchange(self) -> Span:
        end_us = self._end_us
        if end_us is None:
            end_us = max((span.end_us for span in self._builder.spans), default=self._root.start_us)
        ended = None if self._pieces.ended is None else self._pieces.ended[1]
        summaries, answers = self._envelopes["summary"], self._envelopes["answer"]
        if ended is not None:
            peer = ended.peer
        else:
            peers = [*(envelope[2] for envelope in summaries), *(envelope[0] for envelope in answers)]
            peer = peers[0] if peers else ""
        robot, incarnation = self._initiator
        outcome, exchange = self._outcome, self._pieces.exchange
        carried = attributes.of_exchange(exchange, peer, incarnation, outcome, len(summaries), ended)
        error = outcome if outcome in ERRORS else ""
        return self._builder.root(self._root, "exchange", robot, end_us, error, carried)

    # Its messages

    def _send(self, kind: str, envelope: Envelope, row: FateRow | None) -> Placed:
        sender, _, receiver, sequence = envelope
        sent = self._pieces.sent.get(envelope)
        parent = self._cause_of(kind, envelope)
        operation, error = f"send {kind}", ""
        if sent is not None:
            end_us = self._clocks.of_event(sent[0])
            start_us = end_us - sent[1].waited_us
            if isinstance(sent[1], MessageDropped):
                error = sent[1].reason.removeprefix("the ").replace(" is ", " ", 1)
        else:
            assert row is not None, "a message is known by its report or its fate"
            start_us = end_us = self._clocks.of_entry(row.id)
        carried = attributes.of_send(
            operation, receiver, sequence, None if sent is None else sent[1], None if row is None else row.id
        )
        span = span_id(self._trace, "send", *envelope)
        times = (start_us, end_us)
        return self._builder.add(span, parent, operation, SpanKind.PRODUCER, sender, times, error, carried)

    def _cause_of(self, kind: str, envelope: Envelope) -> Placed:
        """The span that a message is sent in: of an answer, the copy that it answers, if that is known."""
        sent = self._pieces.sent.get(envelope)
        if kind != "answer" or sent is None or sent[1].cause is None:
            return self._root
        incarnation, sequence, copy = sent[1].cause
        answered = CopyTaken((envelope[2], incarnation, envelope[0], sequence), copy, envelope[1])
        return self._processes.get(answered, self._root)

    def _relay(self, kind: str, envelope: Envelope, row: FateRow, parent: Placed) -> Placed:
        operation = f"relay {kind}"
        entry_us = self._clocks.of_entry(row.id)
        put_out_us, lag_us = self._put_out(envelope, row, entry_us)
        error = row.fate if row.fate in ("lost", "stale") else ""
        carried = attributes.of_relay(operation, row, round(lag_us / 1000, 1), self._outcome)
        freed = self._evidence.plans.freed_by(row)
        links: tuple[Link, ...] = ()
        if freed is not None:
            run, seed = self._evidence.run, self._evidence.seed
            links = (Link(run_trace_id(run, seed), plan_span_id(run, seed, row.shard, freed)),)
        span, service = span_id(self._trace, "relay", *envelope), f"relay:{row.shard}"
        times = (entry_us, put_out_us)
        return self._builder.add(span, parent, operation, SpanKind.CONSUMER, service, times, error, carried, links)

    def _put_out(self, envelope: Envelope, row: FateRow, entry_us: int) -> tuple[int, int]:
        """When the relay had put out the last copy, and how much later that was than it should have been."""
        if not row.deliveries:
            return self._clocks.of_entry(row.stored), 0
        came_us: dict[int, int] = {}  # copy → the millisecond in which it came into the inbox
        for taken in self._taken.get(envelope, ()):
            for entry in self._inbox_entries(taken):
                at_us = self._clocks.of_entry(entry)
                came_us[taken.copy] = min(at_us, came_us.get(taken.copy, at_us))
        put_out_us = lag_us = 0
        for copy, delay_us in enumerate(row.deliveries):
            due_us = entry_us + delay_us
            put_us = min(max(due_us, came_us.get(copy, due_us)), came_us.get(copy, due_us) + MS_US - 1)
            put_out_us, lag_us = max(put_us, put_out_us), max(put_us - due_us, lag_us)
        return put_out_us, lag_us

    def _inbox_entries(self, taken: CopyTaken) -> list[str]:
        entries = [event.entry for _, event in self._pieces.refused.get(taken, ())]
        if taken in self._pieces.received:
            entries.append(self._pieces.received[taken][1].entry)
        return entries

    # Its copies

    def _process(self, kind: str, taken: CopyTaken, parent: Placed) -> Placed:
        stamped, event = self._pieces.received[taken]
        operation = f"process {kind}"
        start_us = max(self._clocks.of_event(stamped), parent.start_us)
        end_us, error = self._concluded(kind, taken, start_us)
        is_equal = kind == "answer" and self._outcome == "equal" and self._is_concluding(taken)
        inbox_us = max(start_us - self._clocks.of_entry(event.entry), 0)
        carried = attributes.of_process(operation, event, taken.incarnation, inbox_us, is_equal=is_equal)
        events = tuple(
            SpanEvent("message.repeated", max(self._clocks.of_event(again), start_us))
            for again in self._pieces.repeated.get(taken, ())
        )
        span, receiver = span_id(self._trace, "process", *taken.envelope, taken.copy, taken.incarnation), stamped.source
        times = (start_us, end_us)
        return self._builder.add(
            span, parent, operation, SpanKind.CONSUMER, receiver, times, error, carried, (), events
        )

    def _concluded(self, kind: str, taken: CopyTaken, start_us: int) -> tuple[int, str]:
        """When the copy's receiver was done with it, and the error if its life ended before."""
        reply = self._pieces.replies.get(taken)
        if reply is not None:
            stamped, sent = self._pieces.sent[reply]
            return self._clocks.of_event(stamped) - sent.waited_us, ""
        life = (taken.envelope[2], taken.incarnation)
        if kind == "summary" and not self._may_have_answered(taken):
            died_us = self._evidence.lives.died_us(life, self._clocks)
            return (start_us, "") if died_us is None else (died_us, KILLED)
        if kind == "answer" and self._end_us is not None and self._is_concluding(taken):
            return self._end_us, ""
        return start_us, ""

    def _may_have_answered(self, taken: CopyTaken) -> bool:
        """Whether the life sent an answer that is known by its fate alone: it may be the one to this copy."""
        life = (taken.envelope[2], taken.incarnation)
        answers = self._envelopes["answer"]
        return any(envelope[:2] == life and envelope not in self._pieces.sent for envelope in answers)

    def _is_concluding(self, taken: CopyTaken) -> bool:
        """Whether this is the answer that ended the exchange: the first one that its initiator took."""
        received = self._pieces.received
        first = min(
            (other for other in received if self._pieces.kind_of(other.envelope) == "answer"),
            key=lambda other: (received[other][0].wall_us, received[other][0].number),
            default=None,
        )
        return first == taken and self._outcome in ("equal", "answered")

    def _merge(self, taken: CopyTaken, parent: Placed) -> None:
        stamped, event = self._pieces.merged[taken]
        error = "contradiction" if isinstance(event, InvariantViolated) else ""
        span, times = merge_span_id(self._trace, taken), (parent.start_us, self._clocks.of_event(stamped))
        if taken not in self._pieces.received:  # when the copy was taken is not known
            times = (times[1], times[1])
        self._builder.add(
            span, parent, "merge", SpanKind.INTERNAL, stamped.source, times, error, attributes.of_merge(event)
        )

    def _refuse(self, kind: str, taken: CopyTaken, parent: Placed) -> None:
        for stamped, event in self._pieces.refused[taken]:
            operation, at_us = f"refuse {kind}", self._clocks.of_event(stamped)
            span = span_id(self._trace, "refuse", *taken.envelope, taken.copy, taken.incarnation, event.entry)
            carried = attributes.of_refusal(operation, event, taken.incarnation)
            times = (at_us, at_us)
            self._builder.add(span, parent, operation, SpanKind.CONSUMER, stamped.source, times, event.reason, carried)
