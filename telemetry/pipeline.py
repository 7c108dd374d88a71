"""The pipeline of events: a chain of handlers, and the emitter at its head.

A handler gets the event and the next handler; it may enrich, consume or pass on. A handler that raises is counted and
skipped, so that it cannot break the code that emits. Nothing here blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from telemetry.clock import Clock
from telemetry.events import AnyEvent, Stamped

Next = Callable[[Stamped], None]


class Handler(Protocol):
    """One link of the chain."""

    def handle(self, stamped: Stamped, following: Next) -> None:
        """Handle the event, and call `following` with it (or another) unless it ends here."""
        ...


class Pipeline:
    """The chain itself; calling it sends an event through. `failures` counts raised errors by handler class, and
    `on_failure` gets each with its handler."""

    def __init__(
        self, *handlers: Handler, on_failure: Callable[[Handler, Exception], None] = lambda _handler, _error: None
    ) -> None:
        self.failures: Counter[str] = Counter()
        self._on_failure = on_failure
        entry: Next = _end
        for handler in reversed(handlers):
            entry = self._link(handler, entry)
        self._entry = entry

    def __call__(self, stamped: Stamped) -> None:
        self._entry(stamped)

    def _link(self, handler: Handler, following: Next) -> Next:
        def link(stamped: Stamped) -> None:
            passed_on = False

            def guarded(passed: Stamped) -> None:
                nonlocal passed_on
                passed_on = True
                following(passed)

            try:
                handler.handle(stamped, guarded)
            except Exception as error:  # a handler's error stays out of the code that emits
                self.failures[type(handler).__name__] += 1
                self._on_failure(handler, error)
                if not passed_on:
                    following(stamped)

        return link


def _end(_stamped: Stamped) -> None:
    """The end of the chain."""


class Emitter:
    """Stamps one source's events and sends them into a pipeline."""

    def __init__(self, run: str, source: str, incarnation: int, clock: Clock, sink: Next) -> None:
        self.source = source
        self.incarnation = incarnation
        self._run = run
        self._clock = clock
        self._sink = sink
        self._number = 0

    def emit(self, event: AnyEvent) -> None:
        """Stamp `event` with the next number of this source, and send it into the pipeline."""
        self._number += 1
        self._sink(
            Stamped(
                run=self._run,
                source=self.source,
                incarnation=self.incarnation,
                number=self._number,
                wall_us=self._clock.wall_us(),
                monotonic_us=self._clock.monotonic_us(),
                event=event,
            )
        )
