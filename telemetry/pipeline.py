"""From an event to those who want it: a chain of responsibility, and the emitter at its head.

A handler gets the event and the next handler; it may enrich, consume or pass on. No handler can break the work it
observes: one that raises is counted and skipped. Nothing here blocks.
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
        """Do one's part, and call `following` with the event (or another) unless it ends here."""
        ...


class Pipeline:
    """The chain itself; calling it sends an event through. `failures` counts raised errors by handler class."""

    def __init__(self, *handlers: Handler) -> None:
        self.failures: Counter[str] = Counter()
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
            except Exception:  # an observer's fault must not reach the observed
                self.failures[type(handler).__name__] += 1
                if not passed_on:
                    following(stamped)

        return link


def _end(_stamped: Stamped) -> None:
    """The chain's end: nobody is left to ask."""


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
        """Stamp `event` with the next number of this source, and let the pipeline have it."""
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
