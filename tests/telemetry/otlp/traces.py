"""Traces made by hand, to be exported. No tests here."""

from __future__ import annotations

from telemetry.otlp.readable import ReadableSpans, TracedRun
from telemetry.tracing.spans import Link, Span, SpanEvent, SpanKind, Trace

RUN = TracedRun("7b08e1", "0.1.0")
AT_US = 1_795_000_000_000_000


def readable_spans() -> ReadableSpans:
    return ReadableSpans(RUN)


def trace(number: int = 1, took_us: int = 30_000, error: str = "", has_taught: bool = False) -> Trace:
    """An exchange: its root, what its initiator sent, what the relay did with that, and perhaps what it taught."""
    made = number + 1
    at_us = AT_US + number * 1_000_000
    root = Span(
        made, made, None, "exchange", SpanKind.INTERNAL, "r03", "lab1", at_us, at_us + took_us, error,
        (("gossip.exchange", f"{number:032x}"), ("gossip.attempts", 2), ("gossip.equal", True)),
    )  # fmt: skip
    send = Span(
        made, 2**63 + made, made, "send summary", SpanKind.PRODUCER, "r03", "lab1", at_us, at_us + 200, "",
        (("messaging.system", "redis"), ("gossip.peer", "r05"), ("gossip.sequence", 2**53 + 1)),
    )  # fmt: skip
    relay = Span(
        made, 2**62 + made, 2**63 + made, "relay summary", SpanKind.CONSUMER, "relay:0", "", at_us + 200, at_us + 900,
        "lost" if error else "", (("gossip.fate", "lost" if error else "delivered"), ("gossip.delay_ms", 5.0)),
        events=(SpanEvent("message.repeated", at_us + 300, (("gossip.copy", 1),)),),
        links=(Link(2**127 + 5, 17),),
    )  # fmt: skip
    merge = Span(
        made, 2**61 + made, 2**62 + made, "merge", SpanKind.INTERNAL, "r05", "lab1", at_us + 900, at_us + 990, "",
        (("gossip.parts.indices", "3, 7"),),
    )  # fmt: skip
    return Trace((root, send, relay, *([merge] if has_taught else [])))
