"""What `robots traces` and `robots anomalies` print with `--json`, typed: one object on one line. Shapes, and how a
trace becomes one; how a trace is derived stands in telemetry/tracing.
"""

from __future__ import annotations

import msgspec

from telemetry.anomalies.replay import FoundAnomaly
from telemetry.tracing.listing import ExchangeRow
from telemetry.tracing.spans import Attributes, Link, Span, SpanEvent, Trace


class LinkAnswer(msgspec.Struct, frozen=True):
    """Another span, in hex."""

    trace_id: str
    span_id: str


class SpanEventAnswer(msgspec.Struct, frozen=True):
    """What happened at one moment of a span (microseconds since 1970)."""

    name: str
    at_us: int
    attributes: dict[str, str | int | float | bool]


class SpanAnswer(msgspec.Struct, frozen=True):
    """A span. Ids are hex; the root has no `parent_id`. Times are microseconds since 1970, on the server's clock.
    `error` is null where nothing went wrong."""

    span_id: str
    parent_id: str | None
    name: str
    kind: str
    service: str
    start_us: int
    end_us: int
    error: str | None
    attributes: dict[str, str | int | float | bool]
    links: list[LinkAnswer]
    events: list[SpanEventAnswer]


class TraceAnswer(msgspec.Struct, frozen=True):
    """`robots traces RUN EXCHANGE`: all `spans` of one exchange, or of the run itself; the root comes first."""

    run: str
    trace_id: str
    spans: list[SpanAnswer]


class ExchangeList(msgspec.Struct, frozen=True):
    """`robots traces`: of `total` exchanges, `wanted` passed the filters; those of `exchanges` are the slowest of
    these. `outcomes` counts all."""

    run: str
    total: int
    outcomes: dict[str, int]
    wanted: int
    exchanges: list[ExchangeRow]


class ExportedTraces(msgspec.Struct, frozen=True):
    """`robots traces export`: the traces of `exchanges` (there are `of`), and the run's own, were written."""

    run: str
    exchanges: int
    of: int
    folder: str


class PushedTraces(msgspec.Struct, frozen=True):
    """`robots traces push`: spans of `exchanges` (there are `of`) and of the run. `trouble`: in one line, why some were
    `dropped`."""

    run: str
    exchanges: int
    of: int
    accepted: int
    dropped: int
    trouble: str


class FollowedTraces(msgspec.Struct, frozen=True):
    """`robots traces follow`: how many spans the collector accepted. `trouble`: why some were `dropped`. So many events
    never came (`missed`); their exchanges have gaps."""

    run: str
    accepted: int
    dropped: int
    trouble: str
    missed: int


class AnomalyList(msgspec.Struct, frozen=True):
    """`robots anomalies`: what was unusual in a run, in the order in which it began."""

    run: str
    anomalies: list[FoundAnomaly]


def trace_answer(run: str, trace: Trace) -> TraceAnswer:
    """A trace as it is printed."""
    return TraceAnswer(run, f"{trace.spans[0].trace:032x}", [_span(span) for span in trace.spans])


def _span(span: Span) -> SpanAnswer:
    return SpanAnswer(
        span_id=f"{span.span:016x}",
        parent_id=None if span.parent is None else f"{span.parent:016x}",
        name=span.name,
        kind=span.kind.value,
        service=span.service,
        start_us=span.start_us,
        end_us=span.end_us,
        error=span.error or None,
        attributes=_named(span.attributes),
        links=[_link(link) for link in span.links],
        events=[_event(event) for event in span.events],
    )


def _link(link: Link) -> LinkAnswer:
    return LinkAnswer(f"{link.trace:032x}", f"{link.span:016x}")


def _event(event: SpanEvent) -> SpanEventAnswer:
    return SpanEventAnswer(event.name, event.at_us, _named(event.attributes))


def _named(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return dict(attributes)
