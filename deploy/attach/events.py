"""A run's events as one who looks after it has them: its own are told, all are heard, and both make the view.

Own events reach the sink at once and the run's stream as soon as that can be; from there they come back, and are known.
What any of them means for the run is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import redis

from broker.streams.keys import Keys
from broker.streams.run.events import StreamEventSource, append_events
from telemetry.clock import SystemClock
from telemetry.events import AnyEvent, Stamped
from telemetry.pipeline import Emitter, Next, Pipeline
from telemetry.stream.feed import EventFeed
from telemetry.stream.publisher import Publisher
from telemetry.view import View, fold


class RunEvents:
    """`source` is by what name the own events are known. With `keep` this is the recorder: of what it has read, all
    but about the last `keep` batches are forgotten on the server."""

    def __init__(self, client: redis.Redis, run: str, source: str, sink: Next, keep: int | None = None) -> None:
        key = Keys(run).events
        self._stream = StreamEventSource(client, key, keep)
        self._feed = EventFeed(self._stream)
        self._append = partial(append_events, client, key)
        self._publisher = Publisher()
        chain = Pipeline(self._publisher, _Hearing(self._feed, self._take))
        self._emitter = Emitter(run, source, 0, SystemClock(), chain)
        self._sink = sink
        self.view = View()

    def emit(self, event: AnyEvent) -> None:
        """Tell an event of one's own. Never blocks."""
        self._emitter.emit(event)

    def publish(self) -> None:
        """Store own events in the run's stream; while the server is away they wait."""
        self._publisher.flush_blocking(self._append)

    def hear(self) -> None:
        """What others told since the last call; a server that is away has nothing new to tell."""
        for stamped in self._feed.read():
            self._take(stamped)

    def hear_out(self, retry_s: float) -> None:
        """What others told since the last call, to the last event. Raises Unavailable when a server is away for longer
        than `retry_s` before that."""
        for frames in self._stream.pages(retry_s):
            self.hear_also(frames)

    def hear_also(self, frames: Iterable[bytes]) -> None:
        """Batches that never came to the stream."""
        for stamped in self._feed.receive(frames):
            self._take(stamped)

    def _take(self, stamped: Stamped) -> None:
        self.view = fold(self.view, stamped)
        self._sink(stamped)


class _Hearing:
    """The end of the chain for own events: they are heard now, and will be known when they come back."""

    def __init__(self, feed: EventFeed, take: Next) -> None:
        self._feed = feed
        self._take = take

    def handle(self, stamped: Stamped, following: Next) -> None:
        if self._feed.is_new(stamped):
            self._take(stamped)
        following(stamped)
