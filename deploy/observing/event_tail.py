"""The events of a run, batch by batch, in the order of their times: what is recorded, and of a live run what comes.

A live run's events come from its record's file, as far as this host has it, and from the run's stream; each comes once.
Nothing is changed on the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from broker.errors import Unavailable
from broker.streams.connection import DataClient
from broker.streams.keys import Keys
from broker.streams.outage import AWAY_LIMIT_S, ServerWatch
from broker.streams.run.events import StreamEventSource
from broker.streams.run.runs import read_run_status
from deploy.attach.discovery import RunLocation, is_alive
from telemetry.events import RunStarted, Stamped
from telemetry.record.growing import GrowingEvents
from telemetry.record.reader import RecordReader, Unreadable
from telemetry.stream.feed import EventFeed
from telemetry.view import OF_LIVES, View, fold

POLL_S: Final = 0.1
LEAVE_S: Final = 3.0  # for robots to end their lives, after the order to stop

Pause = Callable[[float], bool]
"""Waits so long; False when the person who reads along wants no more."""


class RecordedEvents:
    """Of a run that is over, or whose record was never completed. `missed` counts events that the record lacks, by the
    gaps in their numbers, and `damaged` its lines that are no event; `go_us` is when `go` was ordered (None: never). At
    most the first `most_bytes` are read."""

    def __init__(self, folder: Path, most_bytes: int | None = None) -> None:
        self.go_us: int | None = None
        self._file = GrowingEvents(folder / "events.jsonl", most_bytes)
        self._feed = EventFeed()
        with suppress(Unreadable):
            self.go_us = RecordReader(folder).order_us("go")

    @property
    def missed(self) -> int:
        """See above."""
        return self._feed.missed

    @property
    def damaged(self) -> int:
        """See above."""
        return self._file.damaged

    def past(self) -> list[Stamped]:
        """All events. Raises OSError."""
        return in_time(filter(self._feed.is_new, self._file.read()))


class LiveEvents:
    """Of a run that goes on. `missed` and `go_us` as above, by what is known so far; `is_away`: the server did not
    answer at the last poll."""

    def __init__(self, client: DataClient, where: RunLocation) -> None:
        self.go_us: int | None = None
        self.is_away = False
        self._client = client
        self._where = where
        self._stream = StreamEventSource(client, Keys(where.run).events)
        self._feed = EventFeed()
        self._file = None if where.folder is None else GrowingEvents(where.folder / "events.jsonl")
        self._view = View()
        self._watch = ServerWatch(lambda _line: None, AWAY_LIMIT_S)  # the reader reports what it likes
        self._stopped_s: float | None = None

    @property
    def missed(self) -> int:
        """See above."""
        return self._feed.missed

    @property
    def away_s(self) -> float:
        """For how long the server has not answered."""
        return self._watch.away_s if self.is_away else 0.0

    def past(self) -> list[Stamped]:
        """All events so far. Raises Unavailable, OSError."""
        self._observe_status()
        return self._seen(
            self._written() + [stamped for page in self._stream.pages() for stamped in self._feed.receive(page)]
        )

    def coming(self, pause: Pause) -> Iterator[list[Stamped]]:
        """The events from then on, until the run is over and its last event is read, or `pause` says no. An outage of
        the server is waited for, but not for ever. Raises OSError, ServerGone."""
        while pause(POLL_S):
            is_over = self._is_over()  # first: what came before the end is read below
            yield self._seen(list(self._feed.receive(self._stream.read())) + (self._written() if is_over else []))
            if is_over:
                return

    def _written(self) -> list[Stamped]:
        return [] if self._file is None else list(filter(self._feed.is_new, self._file.read()))

    def _seen(self, events: list[Stamped]) -> list[Stamped]:
        for stamped in events:
            if type(stamped.event) in OF_LIVES:
                self._view = fold(self._view, stamped)
            if self.go_us is None and isinstance(stamped.event, RunStarted):
                self.go_us = stamped.wall_us
        return in_time(events)

    def _is_over(self) -> bool:
        """A run with a parent here is over when the parent has judged it, or has ended. Any other, when it was stopped
        and its robots have left, or its server has it no more."""
        where = self._where
        if where.parent is not None and where.folder is not None:
            if (where.folder / "verdict.json").exists() or not is_alive(where.parent):
                return True
            self._poll_server()
            return False
        self._poll_server()
        if self._stopped_s is None or self.is_away:
            return False
        return not self._view.living or time.monotonic() - self._stopped_s > LEAVE_S

    def _poll_server(self) -> None:
        """Whether it answers, and since when the run is stopped. A parent ends its server after the order to stop: that
        is no outage."""
        try:
            is_stopped = self._observe_status()
        except Unavailable:
            self.is_away = self._where.parent is None or self._stopped_s is None
            self._watch.silent()
            return
        self.is_away = False
        self._watch.answered()
        if is_stopped and self._stopped_s is None:
            self._stopped_s = time.monotonic()

    def _observe_status(self) -> bool:
        """Whether the run was stopped or is gone. Raises Unavailable."""
        run_status = read_run_status(self._client, self._where.run, retry_s=0)
        if run_status is None:
            return True
        if run_status.go_ms is not None:
            self.go_us = run_status.go_ms * 1000
        return run_status.stop is not None


def in_time(events: Iterator[Stamped] | list[Stamped]) -> list[Stamped]:
    """The events by their wall clocks; at the same time, in the order of their source."""
    return sorted(events, key=lambda stamped: (stamped.wall_us, stamped.source, stamped.incarnation, stamped.number))
