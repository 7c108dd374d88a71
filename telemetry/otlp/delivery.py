"""Delivery of traces while a run goes on: a bounded queue, and one thread that empties it into an exporter.

Putting something in never waits, so a collector that is dead, slow or in trouble cannot slow its feeder. What finds no
room, is refused, or is left at the end counts as dropped; the first trouble is reported in one line.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from opentelemetry.sdk.trace.export import SpanExportResult

from telemetry.otlp.collector import ABORT_S
from telemetry.otlp.delivered import Delivered
from telemetry.otlp.http_exporters import Destination
from telemetry.otlp.readable import ReadableSpans
from telemetry.tracing.spans import Trace

ROOM: Final = 50_000  # spans that wait; some 50 MB
BATCH: Final = 512  # spans in one request, about
HOPELESS_S: Final = 0.3  # for what is left at the end, when nothing was accepted lately


class TraceDelivery:
    """The delivery of one run's traces."""

    def __init__(
        self,
        destination: Destination,
        readable: ReadableSpans,
        in_trouble: Callable[[str], None],
        room: int = ROOM,
    ) -> None:
        """`in_trouble` is called from another thread, at most once, with the reason."""
        self._destination = destination
        self._readable = readable
        self._in_trouble = in_trouble
        self._room = room
        self._waiting: deque[Trace] = deque()
        self._held = 0  # spans that wait or are being sent
        self._accepted = self._dropped = 0
        self._trouble = ""
        self._is_failing = self._is_reported = self._is_closing = self._is_over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, trace: Trace) -> None:
        """Have a trace, or a late piece of one, delivered. Never waits; without room it is dropped."""
        with self._changed:
            if self._held + len(trace.spans) > self._room and self._held:
                self._dropped += len(trace.spans)
                return
            self._take(trace)

    def put_when_there_is_room(self, trace: Trace) -> None:
        """The same; without room it waits until a batch was delivered or dropped."""
        with self._changed:
            while self._held + len(trace.spans) > self._room and self._held:
                self._changed.wait()
            self._take(trace)

    def close(self, within_s: float) -> Delivered:
        """Deliver what is left, and end. It takes at most `within_s`, and HOPELESS_S when nothing was accepted
        lately."""
        deadline = time.monotonic() + within_s
        hopeless = time.monotonic() + min(within_s, HOPELESS_S)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            while self._held and (left_s := (hopeless if self._is_failing else deadline) - time.monotonic()) > 0:
                self._changed.wait(min(left_s, HOPELESS_S))
            self._is_over = True
        self._destination.shutdown()
        self._thread.join(ABORT_S)
        return self.so_far()

    def so_far(self) -> Delivered:
        """What came of the delivery if it ended now: what waits counts as dropped."""
        with self._changed:
            rejected = self._destination.rejected
            dropped = self._dropped + self._held + rejected
            return Delivered(self._accepted - rejected, dropped, self._why(rejected) if dropped else "")

    def _why(self, rejected: int) -> str:
        return self._trouble or ("it rejects some of them" if rejected else "it is too slow")

    def _take(self, trace: Trace) -> None:
        self._waiting.append(trace)
        self._held += len(trace.spans)
        self._changed.notify_all()

    def _run(self) -> None:
        self._note(_trouble_of(self._probe))
        while batch := self._next_batch():
            self._settle(batch, _trouble_of(partial(self._export, batch)))

    def _probe(self) -> str:
        self._destination.probe()
        return self._destination.trouble

    def _export(self, batch: list[Trace]) -> str:
        """Why a batch was not accepted; empty when it was."""
        spans = [span for trace in batch for span in self._readable.of(trace)]
        is_accepted = self._destination.export(spans) is SpanExportResult.SUCCESS
        return "" if is_accepted else self._destination.trouble or "it refuses these spans"

    def _next_batch(self) -> list[Trace]:
        """What waits, up to BATCH spans; nothing when it is over."""
        batch: list[Trace] = []
        count = 0
        with self._changed:
            while not self._waiting:
                if self._is_closing:
                    return []
                self._changed.wait()
            while self._waiting and not self._is_over and (not batch or count + len(self._waiting[0].spans) <= BATCH):
                batch.append(self._waiting.popleft())
                count += len(batch[-1].spans)
        return batch

    def _settle(self, batch: list[Trace], trouble: str) -> None:
        self._note(trouble)
        spans = sum(len(trace.spans) for trace in batch)
        with self._changed:
            self._held -= spans
            if trouble:
                self._dropped += spans
            else:
                self._accepted += spans
            self._changed.notify_all()

    def _note(self, trouble: str) -> None:
        """Keep the last trouble there was, and report the first."""
        with self._changed:
            if self._is_over:
                return  # a request that was given up: it had no time to tell
            self._is_failing = bool(trouble)
            self._trouble = trouble or self._trouble
            is_first = bool(trouble) and not self._is_reported
            self._is_reported = self._is_reported or bool(trouble)
        if is_first:
            with suppress(Exception):  # delivery goes on when its report has no reader
                self._in_trouble(trouble)


def _trouble_of(step: Callable[[], str]) -> str:
    """The trouble that a step had; empty when it had none. Its bug is a loss of its spans, and not the end of all
    delivery, for which others may wait."""
    try:
        return step()
    except Exception as error:
        return f"the exporter failed: {type(error).__name__}"
