"""A run's events as seen by a process that attaches to it: own events are emitted, all events are read, and both make
the view.

Own events reach the sink at once, and the run's stream as soon as possible; from there they come back, and are known.
What an event means for the run is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.streams.connection import DataClient
from broker.streams.keys import Keys
from broker.streams.run.events import StreamEventSource
from deploy.instrumentation import Telemetry
from telemetry.clock import Clock
from telemetry.events import AnyEvent, ServerForgot, Stamped
from telemetry.pipeline import Next
from telemetry.stream.feed import EventFeed
from telemetry.view import View, fold


class RunEvents:
    """Own events are known as those of `source`; `sink` gets all events, own and read ones. With `keep` this is the
    recorder: of what it has read, all but about the last `keep` batches are forgotten on the server."""

    def __init__(self, client: DataClient, run: str, source: str, sink: Next, keep: int | None = None) -> None:
        self._stream = StreamEventSource(client, Keys(run).events, keep)
        self._feed = EventFeed()
        self._telemetry = Telemetry(client, run, source, 0, _OwnEvents(self._feed, self._take))
        self._sink = sink
        self._observers: list[Next] = []
        self.view = View()

    def subscribe(self, observe: Next) -> None:
        """From now on `observe` gets all events too, own and read ones. It must raise nothing."""
        self._observers.append(observe)

    @property
    def clock(self) -> Clock:
        """By which own events are stamped."""
        return self._telemetry.clock

    def emit(self, event: AnyEvent) -> None:
        """Emit an own event. Never blocks."""
        self._telemetry.emit(event)

    def publish(self) -> None:
        """Store own events in the run's stream; while the server is away they wait."""
        self._telemetry.publish()

    def read(self) -> None:
        """Read what is new in the stream; nothing while the server is away. A server that came back older is noticed,
        as by `has_server_forgotten`."""
        for stamped in self._feed.receive(self._stream.read()):
            self._take(stamped)
        self._report_older(self._stream.was_older)

    def read_to_end(self, retry_s: float) -> None:
        """Read what is new, to the last event. Raises Unavailable when the server is away for longer than `retry_s`
        before that."""
        for frames in self._stream.pages(retry_s):
            self.read_frames(frames)

    def has_server_forgotten(self) -> bool:
        """Whether the server came back older, by what was read here or by the report of another process. What is found
        here is emitted, once."""
        self._report_older(self.view.has_server_forgotten or self._stream.is_older())
        return self.view.has_server_forgotten

    def _report_older(self, is_older: bool) -> None:
        if is_older and not self.view.has_server_forgotten:
            self.emit(ServerForgot("events"))

    def read_frames(self, frames: Iterable[bytes]) -> None:
        """Read batches that never came to the stream."""
        for stamped in self._feed.receive(frames):
            self._take(stamped)

    def _take(self, stamped: Stamped) -> None:
        self.view = fold(self.view, stamped)
        self._sink(stamped)
        for observe in self._observers:
            observe(stamped)


class _OwnEvents:
    """Takes own events at once, and marks them as known, so that they are not taken again when they come back."""

    def __init__(self, feed: EventFeed, take: Next) -> None:
        self._feed = feed
        self._take = take

    def handle(self, stamped: Stamped, following: Next) -> None:
        if self._feed.is_new(stamped):
            self._take(stamped)
        following(stamped)
