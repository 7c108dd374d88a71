"""A live run as a stage: its history and what comes, on the server's clock, through outages, to its verdict."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from deploy.watching import run_reader
from deploy.watching.live_stage import LiveStage
from telemetry.events import PartsMerged, RobotBorn, RobotLeft, RunDealt, RunStarted
from telemetry.watch.stage import Stage
from tests.deploy.watching.dealt_run import PARTS, ROBOTS, DealtRun
from tests.support.waiting import await_true

pytestmark = pytest.mark.live

HOUR_US = 3_600_000_000
Watch = Callable[[DealtRun], LiveStage]


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        yield client


@pytest.fixture
def run(server: EmbeddedServer, client: redis.Redis) -> DealtRun:
    return DealtRun(server, client)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    stages: list[LiveStage] = []

    def start(run: DealtRun) -> LiveStage:
        stages.append(LiveStage(run.where, tmp_path, poll_s=0.01))
        return stages[-1]

    yield start
    for stage in stages:
        stage.close()


def await_seen(stage: Stage, events: int) -> None:
    """Until the stage has folded so many."""

    def seen() -> bool:
        stage.advance()
        return stage.scene is not None and stage.scene.seen == events

    await_true(seen, what=f"{events} events")


def await_status(stage: Stage, is_so: Callable[[], object]) -> None:
    def there() -> object:
        stage.advance()
        return is_so()

    await_true(there, what=f"the status, which is {stage.status}")


def test_the_history_comes_first_and_then_what_happens(run: DealtRun, watch: Watch) -> None:
    # Given a run with a history
    run.deal()
    run.emit(RunDealt(ROBOTS, PARTS))
    run.emit(RobotBorn(4, 0), "r00")
    # When a person attaches to it
    stage = watch(run)
    await_seen(stage, 2)
    # Then the scene is as if they had been there from the beginning
    assert stage.scene is not None
    assert (stage.scene.settings.run, len(stage.scene.holders)) == (run.run, PARTS)
    assert list(stage.scene.view.robots) == ["r00"]
    # And what comes later is folded into the same scene
    scene = stage.scene
    run.emit(RunStarted(1))
    await_seen(stage, 3)
    assert stage.scene is scene
    assert scene.go_us is not None
    assert (stage.status.missed, stage.status.is_over, stage.status.trouble) == (0, False, "")
    assert stage.status.mode == "live"


def test_a_run_that_is_just_being_dealt_is_waited_for(run: DealtRun, watch: Watch) -> None:
    # Given a run that the server does not know yet
    stage = watch(run)
    stage.advance()
    assert (stage.scene, stage.status.trouble) == (None, "")
    # When it is dealt
    run.deal()
    run.emit(RunDealt(ROBOTS, PARTS))
    # Then it is seen
    await_seen(stage, 1)


def test_a_run_that_never_comes_is_reported(run: DealtRun, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_reader, "DEAL_S", 0.1)
    stage = watch(run)

    await_status(stage, lambda: stage.status.trouble)
    assert stage.status.trouble == f"nothing more comes: run {run.run} has no metadata on its server"


@pytest.mark.parametrize("ahead_us", [HOUR_US, -HOUR_US])
def test_time_goes_by_the_servers_clock(
    run: DealtRun, watch: Watch, monkeypatch: pytest.MonkeyPatch, ahead_us: int
) -> None:
    # Given a host whose clock is wrong by an hour, and an event by the server's clock
    run.deal()
    run.emit(RunDealt(ROBOTS, PARTS))
    right_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + ahead_us * 1000)
    # When the run is watched there
    stage = watch(run)
    await_seen(stage, 1)
    # Then its lag and its time are those of the server, and time passes without any event
    assert stage.status.lag_us is not None
    assert stage.status.lag_us < HOUR_US / 2
    assert stage.scene is not None
    before_us = stage.scene.now_us
    assert abs(before_us - right_ns() // 1000) < HOUR_US / 2
    await_status(stage, lambda: stage.scene is not None and stage.scene.now_us > before_us)


def test_events_that_never_came_are_counted(run: DealtRun, watch: Watch) -> None:
    run.deal()
    run.emit(RunDealt(ROBOTS, PARTS), skipped=2)
    stage = watch(run)
    await_seen(stage, 1)
    run.emit(RunStarted(1), skipped=3)
    await_seen(stage, 2)

    assert stage.status.missed == 5


def test_a_standstill_is_explained_and_forgotten_when_the_run_goes_on(run: DealtRun, watch: Watch) -> None:
    # Given a run of which one robot was never born
    run.deal()
    run.emit(RunDealt(ROBOTS, PARTS))
    for robot in ("r00", "r01"):
        run.emit(RobotBorn(run.parts_of(robot), 0), robot)
    run.emit(RunStarted(2))
    stage = watch(run)
    # When nothing is learnt for a while
    await_status(stage, lambda: stage.status.diagnosis)
    # Then the screen says why
    assert "no progress for" in stage.status.diagnosis[0]
    assert "r02" in " ".join(stage.status.diagnosis)
    # And when something is learnt, it does not any more
    run.emit(PartsMerged("r01", 1, 1, 0, (1,), run.parts_of("r00") + 1), "r00")
    await_status(stage, lambda: not stage.status.diagnosis)


def test_a_run_without_a_parent_here_is_over_when_its_robots_have_left(
    run: DealtRun, watch: Watch, tmp_path: Path
) -> None:
    # Given a run that was stopped, and whose only robot has left
    run.deal()
    run.emit(RunDealt(ROBOTS, PARTS))
    run.emit(RobotBorn(3, 0), "r00")
    stage = watch(run)
    await_seen(stage, 2)
    run.control.order("stop", b"complete")
    run.emit(RobotLeft("complete"), "r00")
    # Then the person is told how to judge it
    await_status(stage, lambda: stage.status.trouble)
    assert stage.status.is_over
    assert stage.status.trouble == f"the run is over; judge it with: robots verify --wait {run.run}"
    # And when that was done on this host, the verdict is there
    (tmp_path / run.run).mkdir()
    (tmp_path / run.run / "secret.txt").write_text("a secret")
    (tmp_path / run.run / "draft").write_text(json.dumps({"verdict": "HELD"}))
    (tmp_path / run.run / "draft").rename(tmp_path / run.run / "verdict.json")
    await_status(stage, lambda: stage.status.result)
    assert stage.status.result == {"verdict": "HELD"}
    assert (stage.status.secret, stage.status.trouble) == ("a secret", "")


def test_an_outage_is_seen_and_survived(watch: Watch) -> None:
    # Given a run on a server of its own
    with EmbeddedServer() as server, connect(server.url) as client:
        run = DealtRun(server, client)
        run.deal()
        run.emit(RunDealt(ROBOTS, PARTS))
        stage = watch(run)
        await_seen(stage, 1)
        # When the server does not answer for a while
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await_status(stage, lambda: stage.status.away_s > 1)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        # Then it goes on when the server is back
        run.emit(RunStarted(1))
        await_seen(stage, 2)
        await_status(stage, lambda: stage.status.away_s == 0)
        stage.close()


def test_a_reader_that_fails_does_not_leave_a_screen_that_stands_still(
    run: DealtRun, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    run.deal()
    monkeypatch.setattr(run_reader.LiveEvents, "past", fail)
    stage = watch(run)

    await_status(stage, lambda: stage.status.trouble)
    assert stage.status.trouble == "the reader failed: RuntimeError('a bug')"
    assert isinstance(stage.failure, RuntimeError)


def test_what_watching_costs_is_measured(run: DealtRun, watch: Watch) -> None:
    run.deal()
    stage = watch(run)

    await_status(stage, lambda: stage.status.cost is not None)
    assert stage.status.cost is not None
    assert 0 <= stage.status.cost < 2
