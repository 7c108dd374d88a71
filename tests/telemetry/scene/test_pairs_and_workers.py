"""What passed between each two robots, and what happened to the workers inside one."""

from __future__ import annotations

from telemetry.events import (
    ChannelPressure,
    ExchangeEnded,
    MessageReceived,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    RobotBorn,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerRestarted,
    WorkerStarted,
)
from telemetry.scene.pairs import DURATIONS_KEPT, PairTraffic
from tests.telemetry.scene.script import GO_US, Script


def sent(receiver: str, sequence: int) -> MessageSent:
    return MessageSent(receiver, sequence, "summary", "e1", 0, 40, 10)


def received(sender: str, sequence: int, copy: int = 0) -> MessageReceived:
    return MessageReceived(sender, 1, sequence, copy, "summary", "e1", 0, "1-1")


def test_an_envelope_arrives_once_however_many_copies_come() -> None:
    # Given three envelopes, of which one is lost and one arrives twice
    run = Script()
    for sequence in (1, 2, 3):
        run.report(10, "r00", sent("r01", sequence))
    run.report(20, "r01", received("r00", 1))
    run.report(21, "r01", received("r00", 2))
    run.report(22, "r01", received("r00", 2, copy=1))
    run.report(23, "r01", MessageRepeated("r00", 1, 2, 1))
    run.report(24, "r01", PartsMerged("r00", 1, 2, 0, (0,), 2))
    # Then
    pairs = run.scene.pairs
    assert pairs.of("r00", "r01") == PairTraffic(sent=3, arrived=2, copies=3, repeated=1, useful=1)
    assert pairs.of("r01", "r00") == PairTraffic(0, 0, 0, 0, 0)
    assert (pairs.sent_to["r01"], pairs.arrived_at["r01"], pairs.arrived_from["r00"]) == (3, 2, 2)


def test_exchanges_are_counted_by_their_outcome_and_timeouts_have_no_duration() -> None:
    # Given exchanges of a robot with one peer, more than are kept
    run = Script()
    for number in range(DURATIONS_KEPT + 10):
        run.report(number, "r00", ExchangeEnded("r01", f"e{number}", "answered", 1, 1_000 + number))
    run.report(200, "r00", ExchangeEnded("r01", "x", "timeout", 3, 900_000))
    run.report(201, "r00", ExchangeEnded("r01", "y", "equal", 1, 5))
    # Then the newest durations are there, sorted
    ended = run.scene.pairs.exchanges("r00", "r01")
    assert (ended.equal, ended.answered, ended.timeout) == (1, DURATIONS_KEPT + 10, 1)
    assert len(ended.took_us) == DURATIONS_KEPT
    assert (ended.took_us[0], ended.took_us[-1]) == (5, 1_000 + DURATIONS_KEPT + 9)


def test_a_copy_of_the_pairs_does_not_see_what_follows() -> None:
    # Given a copy
    run = Script()
    run.report(10, "r00", sent("r01", 1))
    copied = run.scene.pairs.copy()
    # When more is sent
    run.report(11, "r00", sent("r01", 2))
    # Then
    assert (copied.of("r00", "r01").sent, run.scene.pairs.of("r00", "r01").sent) == (1, 2)
    assert (copied.sent_to["r01"], run.scene.pairs.sent_to["r01"]) == (1, 2)


def test_a_worker_is_down_from_its_crash_until_it_reports_to_run_again() -> None:
    # Given a worker that crashed
    run = Script()
    run.report(500, "r01", WorkerCrashed("secret_merger", "ValueError: no"))
    run.report(500, "r01", WorkerRestarted("secret_merger", 1, 20_000))
    worker = run.scene.workers.robots["r01"]["secret_merger"]
    assert (worker.is_running, worker.crashes, worker.again_us) == (False, 1, GO_US + 520_000)
    # When it runs again
    run.report(521, "r01", WorkerStarted("secret_merger"))
    # Then it is, with its crash counted
    worker = run.scene.workers.robots["r01"]["secret_merger"]
    assert (worker.is_running, worker.crashes, worker.error) == (True, 1, "ValueError: no")


def test_injected_crashes_are_not_charged_and_a_new_life_has_a_whole_budget() -> None:
    # Given an injected crash and two that were not
    run = Script()
    run.report(500, "r01", WorkerCrashed("secret_merger", "InjectedCrash: injected"))
    run.report(600, "r01", WorkerCrashed("secret_merger", "ValueError: no"))
    run.report(700, "r01", WorkerCrashed("inbox_reader", "ValueError: no"))
    run.report(700, "r01", WorkerGaveUp("inbox_reader", 6))
    assert run.scene.workers.charged["r01"] == (GO_US + 600_000, GO_US + 700_000)
    assert run.scene.workers.robots["r01"]["inbox_reader"].has_given_up
    # When the robot is born again
    run.report(900, "r01", RobotBorn(1, 3), life=2)
    # Then its workers run, and only their crashes are remembered
    workers = run.scene.workers
    assert "r01" not in workers.charged
    assert all(worker.is_running and not worker.has_given_up for worker in workers.robots["r01"].values())
    assert {name: worker.crashes for name, worker in workers.robots["r01"].items()} == {
        "secret_merger": 2,
        "inbox_reader": 1,
    }


def test_a_robot_that_gave_up_is_none_of_its_workers() -> None:
    # Given a robot that is not born again
    run = Script()
    run.report(900, "r01", WorkerGaveUp("r01", 6), life=0)
    # Then no worker of that name appears
    assert run.scene.workers.robots == {}


def test_what_channels_dropped_counts_for_the_present_life() -> None:
    # Given a channel that reports all that it dropped so far, twice
    run = Script()
    run.report(500, "r01", ChannelPressure("outbox", 1))
    run.report(510, "r01", ChannelPressure("outbox", 3))
    run.report(520, "r01", ChannelPressure("events", 2))
    assert run.scene.workers.dropped["r01"] == {"outbox": 3, "events": 2}
    # When the robot is born again
    run.report(900, "r01", RobotBorn(1, 3), life=2)
    # Then nothing was dropped in that life
    assert "r01" not in run.scene.workers.dropped
