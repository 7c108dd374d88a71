"""The events of a run without a record here, read from its server alone; and those of a damaged record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest
import redis

from broker.control_entries import PlanChange
from broker.errors import Unavailable
from broker.ports.run import RunSpec
from broker.streams.address import Address
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.events import BlockingEventLog
from deploy.attach.discovery import RunLocation
from deploy.observing import event_tail
from deploy.observing.event_tail import LiveEvents, RecordedEvents
from telemetry.events import AnyEvent, RobotBorn, RobotLeft, RobotStarted, Stamped
from telemetry.stream.publisher import encode_events

_runs = count()


class Cluster:
    """A run that was dealt on a server, and its processes' events."""

    def __init__(self, server: EmbeddedServer, client: redis.Redis) -> None:
        self.run, self.client = f"e{next(_runs):05d}", client
        self.control = StreamRunControl(client, self.run)
        self.control.deal(RunSpec(self.run, 1, PlanChange(()), {"r00": [b"header"], "r01": [b"header"]}, b"terms"))
        self.events = LiveEvents(client, RunLocation(self.run, Address.one(server.url), None))

    def emit(self, number: int, event: AnyEvent, source: str = "r00", wall_us: int | None = None) -> None:
        stamped = Stamped(self.run, source, 1, number, number if wall_us is None else wall_us, 0, event)
        BlockingEventLog(self.client, Keys(self.run).events).append(encode_events([stamped]))


@pytest.fixture
def cluster(server: EmbeddedServer) -> Iterator[Cluster]:
    with connect(server.url) as client:
        yield Cluster(server, client)


def numbers(events: list[Stamped]) -> list[tuple[str, int]]:
    return [(stamped.source, stamped.number) for stamped in events]


@pytest.mark.live
def test_a_run_is_followed_until_it_was_stopped_and_its_robots_have_left(cluster: Cluster) -> None:
    # Given a run with some events, which came in another order than they happened
    cluster.emit(1, RobotBorn(2, 0), "r01", wall_us=20)
    cluster.emit(1, RobotBorn(2, 0), "r00", wall_us=10)
    assert numbers(cluster.events.past()) == [("r00", 1), ("r01", 1)]
    assert cluster.events.go_us is None

    # When it begins and ends while it is followed
    shown: list[tuple[str, int]] = []
    steps = iter(
        (
            lambda: cluster.control.order("go"),
            lambda: cluster.emit(2, RobotStarted()),
            lambda: cluster.control.order("stop", b"complete"),
            lambda: cluster.emit(3, RobotLeft("complete")),
            lambda: cluster.emit(2, RobotLeft("complete"), "r01"),
        )
    )

    def go_on(_seconds: float) -> bool:
        next(steps, lambda: None)()
        return True

    for batch in cluster.events.coming(go_on):
        shown += numbers(batch)

    # Then each event came once, and the log ended after the last robot
    assert shown == [("r00", 2), ("r00", 3), ("r01", 2)]
    assert cluster.events.go_us is not None
    assert next(steps, None) is None
    assert cluster.events.missed == 0


@pytest.mark.live
def test_events_that_never_came_are_counted(cluster: Cluster) -> None:
    # Given a source whose second and third event were dropped
    cluster.emit(1, RobotStarted())
    cluster.emit(4, RobotStarted())

    assert numbers(cluster.events.past()) == [("r00", 1), ("r00", 4)]
    assert cluster.events.missed == 2


@pytest.mark.live
def test_a_run_that_is_removed_from_its_server_is_over(cluster: Cluster) -> None:
    cluster.events.past()
    cluster.control.forget()

    assert list(cluster.events.coming(lambda _seconds: True)) == [[]]


@pytest.mark.live
def test_an_outage_of_the_server_is_waited_for(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that does not answer when the run was just stopped
    cluster.events.past()
    cluster.control.order("stop", b"complete")
    answers = event_tail.read_run_status

    def is_away(*_arguments: object, **_named: object) -> None:
        raise Unavailable("status")

    monkeypatch.setattr(event_tail, "read_run_status", is_away)
    coming = cluster.events.coming(lambda _seconds: True)
    assert (next(coming), next(coming), cluster.events.is_away) == ([], [], True)

    # When it answers again, and an event came meanwhile
    cluster.emit(1, RobotLeft("complete"))
    monkeypatch.setattr(event_tail, "read_run_status", answers)

    # Then the log goes on to its end
    assert [numbers(batch) for batch in coming] == [[("r00", 1)]]
    assert not cluster.events.is_away


@pytest.mark.live
@pytest.mark.parametrize("is_stopped", [False, True])
def test_an_outage_of_a_server_whose_parent_is_here_is_reported_unless_the_run_has_ended(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_stopped: bool
) -> None:
    # Given a run whose parent is this process
    events = LiveEvents(cluster.client, RunLocation(cluster.run, Address.one(""), tmp_path, os.getpid()))
    events.past()
    if is_stopped:
        cluster.control.order("stop", b"complete")
    coming = events.coming(lambda _seconds: True)
    assert (next(coming), events.is_away) == ([], False)
    answers = event_tail.read_run_status

    # When its server does not answer
    def is_away(*_arguments: object, **_named: object) -> None:
        raise Unavailable("status")

    monkeypatch.setattr(event_tail, "read_run_status", is_away)

    # Then this is an outage, but for a run that was stopped, whose parent has ended it
    assert (next(coming), events.is_away) == ([], not is_stopped)
    monkeypatch.setattr(event_tail, "read_run_status", answers)
    assert (next(coming), events.is_away) == ([], False)
    # And the run is over when its parent has judged it
    (tmp_path / "verdict.json").write_text("{}")
    assert list(coming) == [[]]


def test_damaged_lines_and_missing_numbers_of_a_record_are_counted(tmp_path: Path) -> None:
    events = [Stamped("7b08e1", "r00", 1, number, number, 0, RobotStarted()) for number in (1, 2, 5)]
    lines = [msgspec.json.encode(stamped) for stamped in events]
    (tmp_path / "events.jsonl").write_bytes(b"\n".join([lines[0], b"{garbage", lines[1], lines[2], b'{"half']))

    recorded = RecordedEvents(tmp_path)

    assert numbers(recorded.past()) == [("r00", 1), ("r00", 2), ("r00", 5)]
    assert (recorded.damaged, recorded.missed, recorded.go_us) == (1, 2, None)
