"""Reads a live run for the screens, in a thread of its own: its history first, then what comes, until it was judged.

It only reads: plain reads with a cursor of its own. It knows no screen; what it finds is put out as `RunUpdate`s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from broker.errors import Unavailable
from broker.streams.connection import DataClient, connect
from broker.streams.outage import ServerGone
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.probes import clock_by
from deploy.attach.context import read_metadata
from deploy.attach.discovery import RunLocation, is_alive
from deploy.errors import NoMetadata
from deploy.observing.event_tail import LiveEvents, in_time
from deploy.observing.live_history import dealt_parts
from telemetry.clock import Clock, SystemClock
from telemetry.events import Stamped
from telemetry.record.growing import GrowingEvents
from telemetry.record.reader import RecordReader, Unreadable
from telemetry.record.rows import DealtPart
from telemetry.record.settings import RunSettings
from telemetry.scene.scene import Scene

CLOCK_S: Final = 10.0  # between two comparisons with the server's clock
DEAL_S: Final = 10.0  # for a run that is being dealt to have its metadata
_JUDGED_S: Final = 0.2  # between two polls for a verdict


class RunUpdate(msgspec.Struct, frozen=True):
    """What was found since the last one. `scene`: the history, with the first update, and its `dealt` parts; `clock`
    goes like the server's; `lag_us`: how old the newest event was when it was read; `secret`: what was written,
    known with the `result`; `trouble`: why nothing more comes.
    """

    events: list[Stamped] = []
    scene: Scene | None = None
    dealt: tuple[DealtPart, ...] = ()
    clock: Clock = SystemClock()
    missed: int = 0
    away_s: float = 0.0
    lag_us: int | None = None
    is_over: bool = False
    result: Mapping[str, Any] | None = None
    secret: str = ""
    trouble: str = ""


class RunReader:
    """Reads the run at `where` every `poll_s` seconds, and puts out updates, until it was judged or `end` is called.
    `runs`: where records of this host are."""

    def __init__(self, where: RunLocation, runs: Path, poll_s: float, put: Callable[[RunUpdate], None]) -> None:
        self._where = where
        self._folder = where.folder or runs / where.run
        self._poll_s = poll_s
        self._put = put
        self._ended = threading.Event()
        self._last = RunUpdate()
        self._measured_s = float("-inf")
        self._has_scene = False

    def end(self) -> None:
        """Let `read` return soon. From any thread."""
        self._ended.set()

    def read(self) -> None:
        """All of it. What keeps the reader from going on is put out as trouble."""
        if (self._folder / "verdict.json").exists():
            self._await_verdict()
            return
        try:
            with connect(self._where.address.data) as client:
                live = self._begin(client)
                if live is not None:
                    self._follow(client, live)
            self._await_verdict()
        except (Unavailable, ServerGone, NoMetadata) as error:
            self._await_verdict(f"nothing more comes: {error}")
        except OSError as error:
            self._await_verdict(f"events.jsonl: {error.strerror or error}")

    def _begin(self, client: DataClient) -> LiveEvents | None:
        """Read the history; None when the reader is to end. Raises NoMetadata, Unavailable, OSError."""
        found = self._await_metadata(client)
        if found is None:
            return None
        settings, dealt = found
        self._compare_clocks(client)
        live = LiveEvents(client, self._where)
        scene = Scene(settings, dealt)
        past = live.past()
        for stamped in past:
            scene.handle(stamped)
        self._put_read(live, past[-1:], scene=scene, dealt=dealt)
        return live

    def _await_metadata(self, client: DataClient) -> tuple[RunSettings, tuple[DealtPart, ...]] | None:
        """A run that is just dealt gets them in a moment; None when the reader is to end. Raises NoMetadata,
        Unavailable."""
        evidence, deadline_s = StreamEvidenceReader(client, self._where.run), time.monotonic() + DEAL_S
        while not self._ended.is_set():
            try:
                settings, deal = read_metadata(evidence, self._where.run)
                return settings, dealt_parts(self._where.run, deal.get("indices"))
            except NoMetadata:
                parent = self._where.parent
                if time.monotonic() > deadline_s or not (parent is None or is_alive(parent)):
                    raise
            self._ended.wait(self._poll_s)
        return None

    def _follow(self, client: DataClient, live: LiveEvents) -> None:
        """Until the run is over. Raises ServerGone, OSError."""
        for batch in live.coming(self._pause):
            if not live.is_away and time.monotonic() - self._measured_s >= CLOCK_S:
                self._compare_clocks(client)
            self._put_read(live, batch)

    def _pause(self, _seconds: float) -> bool:
        return not self._ended.wait(self._poll_s)

    def _await_verdict(self, trouble: str = "") -> None:
        """The run is over, or cannot be read any more because of `trouble`. A parent here judges it at once, and any
        other is judged when a person wants it."""
        parent = self._where.parent
        while not self._ended.is_set():
            is_ended = parent is not None and not is_alive(parent)  # first: it may judge and end in between
            with suppress(Unreadable):
                record = RecordReader(self._folder)
                result, secret = record.result(), record.written_secret() or b""
                if not self._has_scene:
                    self._put_record(record)
                self._put_more(is_over=True, result=result, secret=secret.decode(errors="replace"), trouble="")
                return
            is_over = is_ended or not trouble
            is_unjudged = is_ended or (parent is None and not trouble)
            self._put_more(is_over=is_over, trouble=self._unjudged() if is_unjudged else trouble)
            self._ended.wait(_JUDGED_S)

    def _put_record(self, record: RecordReader) -> None:
        """The run was over before its history was read: its record has it. Raises Unreadable."""
        settings, dealt = record.settings(), record.dealt()
        scene = Scene(settings, dealt)
        for stamped in in_time(GrowingEvents(record.folder / "events.jsonl").read()):
            scene.handle(stamped)
        self._put_more(scene=scene, dealt=dealt)

    def _unjudged(self) -> str:
        if self._where.parent is None:
            return f"the run is over; judge it with: robots verify --wait {self._where.run}"
        return (
            f"the process of the run has ended without a verdict; judge what is there: robots verify {self._where.run}"
        )

    def _compare_clocks(self, client: DataClient) -> None:
        self._measured_s = time.monotonic()
        self._last = replace(self._last, clock=clock_by(client, self._where.run))

    def _put_read(self, live: LiveEvents, events: list[Stamped], **changes: Any) -> None:
        """Put out what was read just now."""
        if events:
            changes["lag_us"] = max(0, self._last.clock.wall_us() - events[-1].wall_us)
        is_history = "scene" in changes
        self._put_more([] if is_history else events, missed=live.missed, away_s=live.away_s, **changes)

    def _put_more(self, events: list[Stamped] | None = None, **changes: Any) -> None:
        self._last = replace(self._last, **changes)
        self._put(replace(self._last, events=events or []))
        self._has_scene = self._has_scene or self._last.scene is not None
        self._last = replace(self._last, scene=None, dealt=())
