"""What a trace is made of: frozen values with no behaviour, as OpenTelemetry means them. How they are derived, drawn or
exported stands elsewhere.
"""

from __future__ import annotations

from enum import Enum

import msgspec

Attributes = tuple[tuple[str, str | int | float | bool], ...]


class SpanKind(Enum):
    """OpenTelemetry's kind of a span. What a relay or a receiver does with a message is of the kind CONSUMER."""

    INTERNAL = "internal"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Link(msgspec.Struct, frozen=True, gc=False):
    """A span of another trace that this one is about."""

    trace: int
    span: int


class SpanEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that happened within a span, at a time of the server's clock."""

    name: str
    at_us: int
    attributes: Attributes = ()


class Span(msgspec.Struct, frozen=True, gc=False):
    """One operation. `trace` has 128 bits, `span` and `parent` 64; a root has no parent. `service`: a robot, `relay:K`
    or `lab`; `host`: where it lived, empty when that is not known. Times are microseconds since 1970, by the server's
    clock. `error` is OpenTelemetry's `error.type`; empty: no error, and the status is UNSET."""

    trace: int
    span: int
    parent: int | None
    name: str
    kind: SpanKind
    service: str
    host: str
    start_us: int
    end_us: int
    error: str
    attributes: Attributes
    links: tuple[Link, ...] = ()
    events: tuple[SpanEvent, ...] = ()


class Trace(msgspec.Struct, frozen=True, gc=False):
    """The spans of one trace, the root first. What came late for a trace that was given out before has no root."""

    spans: tuple[Span, ...]
