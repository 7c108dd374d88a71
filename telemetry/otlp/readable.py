"""OpenTelemetry's own spans, made of ours, for any exporter of its SDK.

They are made by hand and not by a Tracer, because a derived span has its ids and its times already; the SDK has no
public way to begin a root span of a given trace. One `host.id` stands for all: every time is on the server's clock, so
no viewer has to correct one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from telemetry.tracing import spans

SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
NAMESPACE: Final = "robots-lab"
SCOPE: Final = "robots.lab"
SHORTEST_NS: Final = 1  # of a span: Jaeger warns of one without any length as of a negative one

_KINDS: Final = {
    spans.SpanKind.INTERNAL: SpanKind.INTERNAL,
    spans.SpanKind.PRODUCER: SpanKind.PRODUCER,
    spans.SpanKind.CONSUMER: SpanKind.CONSUMER,
}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status(StatusCode.UNSET)


class TracedRun(msgspec.Struct, frozen=True):
    """The run whose spans these are: its id, and the version of the lab."""

    run: str
    version: str


class ReadableSpans:
    """Makes the SDK's spans of one run's."""

    def __init__(self, run: TracedRun) -> None:
        self._run = run
        self._scope = InstrumentationScope(SCOPE, run.version, SCHEMA)
        self._resource = lru_cache(maxsize=1 << 14)(self._make_resource)  # equal ones are one object

    def of(self, trace: spans.Trace) -> list[ReadableSpan]:
        """The spans of a trace, or of a late piece of one, in their order."""
        services = {span.span: span.service for span in trace.spans}
        return [self._readable(span, services) for span in trace.spans]

    def _readable(self, span: spans.Span, services: dict[int, str]) -> ReadableSpan:
        attributes: dict[str, Any] = dict(span.attributes)
        if span.error:
            attributes["error.type"] = span.error
        is_remote = services.get(span.parent or 0, span.service) != span.service
        parent = None if span.parent is None else SpanContext(span.trace, span.parent, is_remote, _SAMPLED)
        return ReadableSpan(
            name=span.name,
            context=SpanContext(span.trace, span.span, False, _SAMPLED),
            parent=parent,
            resource=self._resource(span.service, span.host),
            attributes=attributes,
            events=[Event(event.name, dict(event.attributes), event.at_us * 1000) for event in span.events],
            links=[Link(SpanContext(link.trace, link.span, True, _SAMPLED)) for link in span.links],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else _UNSET,
            start_time=span.start_us * 1000,
            end_time=max(span.end_us * 1000, span.start_us * 1000 + SHORTEST_NS),
            instrumentation_scope=self._scope,
        )

    def _make_resource(self, service: str, host: str) -> Resource:
        run = self._run.run
        attributes = {
            "service.namespace": NAMESPACE,
            "service.name": service,
            "service.instance.id": f"{run}/{service}",
            "service.version": self._run.version,
            "gossip.run": run,
            "host.id": f"lab-{run}",
            "ip": f"lab-{run}",  # the same for Jaeger, which knew a host by this name before
        }
        return Resource({**attributes, "gossip.host": host} if host else attributes, SCHEMA)
