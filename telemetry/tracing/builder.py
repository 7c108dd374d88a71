"""Puts the spans of one trace together, each below a parent that is there already. Keeps one promise: no span begins
before its parent, or ends before it begins.
"""

from __future__ import annotations

from typing import NamedTuple

from telemetry.tracing.spans import Attributes, Link, Span, SpanEvent, SpanKind


class Placed(NamedTuple):
    """A span that others can lie below."""

    span: int
    start_us: int


class TraceBuilder:
    """Of the trace with the id `trace`. `spans` are those below the root, in the order in which they were added."""

    def __init__(self, trace: int) -> None:
        self.trace = trace
        self.spans: list[Span] = []

    def add(
        self,
        span: int,
        parent: Placed,
        name: str,
        kind: SpanKind,
        service: str,
        times: tuple[int, int],
        error: str = "",
        attributes: Attributes = (),
        links: tuple[Link, ...] = (),
        events: tuple[SpanEvent, ...] = (),
    ) -> Placed:
        """Add a span below `parent`. `times`: when it began and ended, as far as is known."""
        start_us, end_us = times
        if start_us < parent.start_us:
            start_us = parent.start_us
        if end_us < start_us:
            end_us = start_us
        trace, above = self.trace, parent.span
        self.spans.append(
            Span(trace, span, above, name, kind, service, "", start_us, end_us, error, attributes, links, events)
        )
        return Placed(span, start_us)

    def root(self, root: Placed, name: str, service: str, end_us: int, error: str, attributes: Attributes) -> Span:
        """The root, which is made last: only then its end is known."""
        end_us = max(end_us, root.start_us)
        about = (self.trace, root.span, None, name, SpanKind.INTERNAL, service, "", root.start_us, end_us, error)
        return Span(*about, attributes)
