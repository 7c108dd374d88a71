"""The follower of a run: its end takes a bounded time, and what keeps it from its work is told in one line."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from broker.streams.embedded import EmbeddedServer
from broker.streams.run.tail import News
from deploy.observing import follower
from deploy.observing.follower import Follower, follow_forked
from telemetry.events import RobotStarted, Stamped
from telemetry.otlp.endpoint import Endpoint
from telemetry.stream.publisher import encode_events
from tests.support.recorded_settings import settings_of


class Tail:
    """A tail with so many pages of one event each, of which every second is missing."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self._numbers = count(1, 2)

    def read(self, retry_s: float = 0.0) -> News:
        self.pages -= 1
        event = Stamped("f00000", "r00", 1, next(self._numbers), 0, 0, RobotStarted())
        return News([encode_events([event])], [], [], [], [], has_more=self.pages > 0, is_gone=False)


def follower_of(tail: Tail) -> Follower:
    return Follower(tail, settings_of(), lambda _trace: None)  # type: ignore[arg-type]


def test_a_follower_reads_to_the_end_and_counts_what_never_came() -> None:
    tail = Tail(pages=4)
    follower = follower_of(tail)

    follower.finish(within_s=60)

    assert (tail.pages, follower.missed, follower.is_cut) == (0, 3, False)


def test_the_end_of_a_follower_is_bounded_however_much_there_is_to_read() -> None:
    # Given streams that grow as fast as they are read
    tail = Tail(pages=1 << 60)
    follower = follower_of(tail)

    follower.finish(within_s=0.05)

    assert follower.is_cut


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        (Endpoint("http://127.0.0.1:1/v1/traces"), "run nosuch"),
        (Endpoint("https://127.0.0.1:1/v1/traces", certificate="/nope"), "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ],
)
@pytest.mark.live
def test_what_keeps_a_follower_from_its_work_is_one_line_and_no_traceback(
    server: EmbeddedServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    endpoint: Endpoint,
    reason: str,
) -> None:
    monkeypatch.setattr(os, "nice", lambda _by: 0)
    if endpoint.is_tls:  # the run is there, and the file was there when the run began
        monkeypatch.setattr(follower, "read_metadata", lambda *_of: (settings_of(), {}))

    assert follow_forked(server.url, "nosuch", endpoint, tmp_path) == 1

    [line] = "".join(capfd.readouterr()).splitlines()
    assert line.startswith(f"traces: nothing follows the run any more ({reason}")


@pytest.mark.live
def test_what_was_delivered_is_saved_before_the_last_of_it_is(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run on a server that holds nothing of it any more
    monkeypatch.setattr(follower, "read_metadata", lambda *_of: (settings_of(), {}))
    monkeypatch.setattr(os, "nice", lambda _by: 0)
    closed = follower.TraceDelivery.close

    def close(delivery: follower.TraceDelivery, within_s: float) -> follower.Delivered:
        assert (tmp_path / "traces" / "delivered.json").exists()  # a follower that is killed now leaves it
        return closed(delivery, within_s)

    monkeypatch.setattr(follower.TraceDelivery, "close", close)

    assert follow_forked(server.url, "nosuch", Endpoint("http://127.0.0.1:1/v1/traces"), tmp_path) == 0
