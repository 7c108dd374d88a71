"""The trace and the span that an event belongs to, for logs: computed by its own process, from what it knows already.

They are the ids that the spans get when they are derived (exchange_spans.py, life_spans.py), so a log line leads to its
span. What belongs to no exchange belongs to its robot's life, or else to the run.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

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
from telemetry.tracing.ids import exchange_trace_id, run_trace_id, span_id

_REMEMBERED: Final = 512  # copies that came last: what is merged or refused of them names no exchange itself

_Copy = tuple[str, int, int, int, str]  # sender, its incarnation, sequence, copy; and the receiver


class Context(NamedTuple):
    """The ids, in hexadecimal as OpenTelemetry has them in logs."""

    trace_id: str
    span_id: str


class LogContext:
    """Of the events of one process, in their order: it observes each, and computes the ids of those that are logged.
    `seed` is the run's."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._exchanges: OrderedDict[_Copy, str] = OrderedDict()

    def observe(self, stamped: Stamped) -> None:
        """Remember the exchange of a copy that came. Cheap: it is called for every event."""
        if isinstance(stamped.event, MessageReceived) and _is_exchange(stamped.event.exchange):
            self._exchanges[_copy_of(stamped, stamped.event)] = stamped.event.exchange
            if len(self._exchanges) > _REMEMBERED:
                self._exchanges.popitem(last=False)

    def of(self, stamped: Stamped) -> Context:
        """The span of an event; the exchange's own where the event is about no single message."""
        event, life = stamped.event, (stamped.source, stamped.incarnation)
        match event:
            case ExchangeEnded(exchange=exchange):
                return self._in_exchange(stamped, exchange, "exchange")
            case MessageSent(receiver, sequence, _, exchange) | MessageDropped(receiver, sequence, _, exchange):
                return self._in_exchange(stamped, exchange, "send", *life, receiver, sequence)
            case MessageReceived() if _is_exchange(event.exchange):
                return self._of_copy(stamped, event, event.exchange, "process")
            case MessageRefused(exchange=exchange) if _is_exchange(exchange):
                return self._of_copy(stamped, event, exchange, "refuse", event.entry)
            case MessageRepeated() | PartsMerged() | InvariantViolated():
                exchange = self._exchanges.get(_copy_of(stamped, event), "")
                if exchange:
                    operation = "process" if isinstance(event, MessageRepeated) else "merge"
                    return self._of_copy(stamped, event, exchange, operation)
        return self._in_run(stamped)

    def _of_copy(
        self,
        stamped: Stamped,
        event: MessageReceived | MessageRefused | MessageRepeated | PartsMerged | InvariantViolated,
        exchange: str,
        operation: str,
        *more: str,
    ) -> Context:
        envelope = (event.sender, event.sender_incarnation, stamped.source, event.sequence)
        return self._in_exchange(stamped, exchange, operation, *envelope, event.copy, stamped.incarnation, *more)

    def _in_exchange(self, stamped: Stamped, exchange: str, operation: str, *about: str | int) -> Context:
        return _context(exchange_trace_id(stamped.run, self._seed, exchange), operation, *about)

    def _in_run(self, stamped: Stamped) -> Context:
        trace = run_trace_id(stamped.run, self._seed)
        if ":" in stamped.source or stamped.incarnation == 0:  # a relay, or who leads the run: no robot's life
            return _context(trace, "run")
        return _context(trace, "life", stamped.source, stamped.incarnation, 0)


def _copy_of(stamped: Stamped, event: MessageReceived | MessageRepeated | PartsMerged | InvariantViolated) -> _Copy:
    return event.sender, event.sender_incarnation, event.sequence, event.copy, stamped.source


def _is_exchange(exchange: str) -> bool:
    """What the lab itself puts into an inbox has an exchange of zeros: it belongs to none."""
    return bool(exchange.strip("0"))


def _context(trace: int, operation: str, *about: str | int) -> Context:
    return Context(f"{trace:032x}", f"{span_id(trace, operation, *about):016x}")
