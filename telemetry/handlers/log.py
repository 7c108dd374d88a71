"""Writes events to the standard logger `robots`, one JSON object a line: notable ones at INFO, all others at DEBUG.

A line has the trace and the span that the event belongs to, once the run's seed is known. No event holds a word of the
secret.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

from telemetry.events import AnyEvent, Stamped
from telemetry.handlers.log_context import LogContext
from telemetry.pipeline import Next

_encode = msgspec.json.Encoder().encode


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a log. `time` is that of the source's wall clock (UTC); `source` reports the event, and is a `robot` or
    not; `trace_id` and `span_id` are absent while the run's seed is not known."""

    time: str
    level: str
    run: str
    source: str
    incarnation: int
    number: int
    event: AnyEvent
    robot: str = ""
    trace_id: str = ""
    span_id: str = ""


def log_to_stderr() -> None:
    """Send this process's notable events to its standard error."""
    logger = logging.getLogger("robots")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False


class StructuredLog:
    """`identify` may be called later, when the run's seed is known."""

    def __init__(self, seed: int | None = None) -> None:
        self._logger = logging.getLogger("robots")
        self._context = None if seed is None else LogContext(seed)

    def identify(self, seed: int) -> None:
        """From now on, lines have trace ids."""
        self._context = LogContext(seed)

    def handle(self, stamped: Stamped, following: Next) -> None:
        if self._context is not None:
            self._context.observe(stamped)
        level = logging.INFO if stamped.event.notable else logging.DEBUG
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", _encode(self._line(stamped, level)).decode())
        following(stamped)

    def _line(self, stamped: Stamped, level: int) -> LogLine:
        context = None if self._context is None else self._context.of(stamped)
        return LogLine(
            time=_time(stamped.wall_us),
            level=logging.getLevelName(level),
            run=stamped.run,
            source=stamped.source,
            incarnation=stamped.incarnation,
            number=stamped.number,
            event=stamped.event,
            robot=stamped.source if _is_robot(stamped) else "",
            trace_id=context.trace_id if context else "",
            span_id=context.span_id if context else "",
        )


def _is_robot(stamped: Stamped) -> bool:
    return ":" not in stamped.source and stamped.incarnation > 0


def _time(wall_us: int) -> str:
    seconds, microseconds = divmod(wall_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{microseconds:06}Z"
