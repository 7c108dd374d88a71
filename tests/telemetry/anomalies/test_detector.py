"""The detector: one of many observers, over a run as it goes on or over its record."""

import logging

import pytest

from telemetry.anomalies.catalogue import LATE_BEAT
from telemetry.anomalies.detector import AnomalyDetector
from telemetry.anomalies.replay import anomalies_in
from telemetry.anomalies.thresholds import Thresholds, format_thresholds, read_thresholds
from telemetry.anomalies.watch import AnomalyWatch
from telemetry.events import (
    AnomalyBegan,
    AnomalyEnded,
    AnyEvent,
    ChannelPressure,
    MessageSent,
    PlanChanged,
    RobotBorn,
    RobotStarted,
    RunHeldBack,
    RunStarted,
    RunStopped,
    Stamped,
    TicksExecuted,
)
from tests.telemetry.anomalies.scene import EPOCH_US, STEP_US, TICK_US, Scene


class StandingClock:
    """A clock that shows what it is set to."""

    now_us = 0

    def monotonic_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int:
        return EPOCH_US + self.now_us


def test_a_healthy_run_has_no_anomaly() -> None:
    scene = Scene()
    scene.plan()
    scene.live(600)

    assert scene.announced == []


def test_thresholds_are_in_ticks_of_the_run() -> None:
    scene = Scene(thresholds=Thresholds(beat_ticks=30))
    scene.live(5)
    scene.wait(28)
    assert scene.begun(LATE_BEAT) == []
    scene.wait(3)
    assert len(scene.begun(LATE_BEAT)) == 4


def test_a_successor_ends_what_its_predecessor_began_and_begins_nothing_again() -> None:
    # Given two observers of one run, of which the first leads and tells that r02 is late
    leader, standby = Scene(), Scene()
    for scene in (leader, standby):
        scene.live(5)
    leader.live(20, silent=["r02"])
    for _ in range(20):
        standby.live(1, silent=["r02"])
        if len(standby.announced) == 1:  # what it would tell, if it led
            standby.announced.clear()
    [(_, began)] = leader.announced
    # When a third one, that has read all of it, takes over
    successor = Scene()
    successor.live(5)
    for stamped in leader.events[len(successor.events) :]:
        successor.now_us = max(successor.now_us, stamped.monotonic_us)
        successor.detector.observe(stamped, successor.now_us)
        successor.detector.advance(successor.now_us)
    successor.emit("lab", began)
    # Then it tells nothing until r02 is there again
    successor.live(1, silent=["r02"])
    assert successor.announced == []
    successor.emit("r02", TicksExecuted(1))
    successor.wait(1)
    [(_, ended)] = successor.announced
    assert isinstance(ended, AnomalyEnded)
    assert (ended.rule, ended.about) == (began.rule, began.about)


def test_what_a_predecessor_began_and_a_late_successor_never_found_is_over_after_a_while() -> None:
    scene = Scene()
    scene.emit("supervisor:1", AnomalyBegan("relay lag", "relay:7", "long ago"))
    scene.live(45)
    assert scene.announced == []
    scene.live(10)

    [(_, ended)] = scene.announced
    assert isinstance(ended, AnomalyEnded)
    assert (ended.about, 50 <= ended.lasted_us / TICK_US <= 51) == ("relay:7", True)


def test_what_a_predecessor_began_and_our_rules_find_too_stands_as_long_as_they_find_it() -> None:
    scene = Scene()
    scene.live(5)
    scene.emit("supervisor:1", AnomalyBegan(LATE_BEAT, "r02", ""))
    scene.live(90, silent=["r02"])
    assert scene.announced == []
    scene.live(1)

    [(_, ended)] = scene.announced
    assert isinstance(ended, AnomalyEnded)
    assert ended.about == "r02"


def test_what_another_observer_has_ended_is_not_ended_again() -> None:
    scene = Scene()
    scene.emit("supervisor:1", AnomalyBegan("relay lag", "relay:7", ""))
    scene.live(1)
    scene.emit("supervisor:1", AnomalyEnded("relay lag", "relay:7", 1))
    scene.live(60)

    assert scene.announced == []


def test_nothing_begins_after_the_order_to_stop() -> None:
    scene = Scene()
    scene.emit("lab", RunStopped("complete"))
    scene.wait(100)

    assert scene.announced == []


def test_a_record_shows_the_same_anomalies_at_the_same_times() -> None:
    # Given a run with two anomalies, as its leader told them
    scene = Scene()
    scene.live(10)
    scene.emit("r01", ChannelPressure("outbox", 1))
    scene.live(20, silent=["r02"])
    scene.live(60)
    # When its events are read from a record, in which those of one robot come late
    late = [stamped for stamped in scene.events if stamped.source == "r03"]
    scene.events += [  # what its leader emitted, a moment before our rules find it
        Stamped("abc123", "lab", 0, number, EPOCH_US + at_us - STEP_US, at_us - STEP_US, news)
        for number, (at_us, news) in enumerate(scene.announced, start=1)
    ]
    others = [stamped for stamped in scene.events if stamped.source != "r03"]
    found = anomalies_in([*others, *late], AnomalyDetector(TICK_US, lambda _robot: 0))
    # Then they are the same, within a tick
    began = [(news.rule, news.about, at) for at, news in scene.announced if isinstance(news, AnomalyBegan)]
    assert [(anomaly.rule, anomaly.about) for anomaly in found] == [(rule, about) for rule, about, _ in began]
    for anomaly, (_, _, at_us) in zip(found, began, strict=True):
        assert abs(anomaly.began_us - EPOCH_US - at_us) <= TICK_US
    ended = {news.rule: at for at, news in scene.announced if isinstance(news, AnomalyEnded)}
    for anomaly in found:
        assert anomaly.ended_us is not None
        assert abs(anomaly.ended_us - EPOCH_US - ended[anomaly.rule]) <= TICK_US


def test_only_the_leader_emits_what_was_found() -> None:
    # Given a watch over a robot that is silent
    clock, emitted = StandingClock(), list[AnyEvent]()
    watch = AnomalyWatch(AnomalyDetector(TICK_US, lambda _robot: 0), clock, emitted.append)
    for number, event in enumerate((RobotBorn(1, 0), RobotStarted()), start=1):
        watch.observe(Stamped("abc123", "r00", 1, number, EPOCH_US, 0, event))
    for _ in range(200):
        clock.now_us += 10_000
        watch.poll(is_leading=False)
    assert emitted == []
    # When it leads
    watch.poll(is_leading=True)
    watch.poll(is_leading=True)
    # Then it tells, once
    assert [type(event) for event in emitted] == [AnomalyBegan]


def test_an_error_in_a_rule_costs_its_event_is_logged_once_and_reaches_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a detector with a bug
    class Broken(AnomalyDetector):
        def observe(self, stamped: Stamped, now_us: int) -> None:
            raise RuntimeError("a bug")

    emitted: list[AnyEvent] = []
    watch = AnomalyWatch(Broken(TICK_US, lambda _robot: 0), StandingClock(), emitted.append)
    # When it is used
    logger = logging.getLogger("robots")
    was_passed_on, logger.propagate = logger.propagate, True
    try:
        for number in (1, 2):
            watch.observe(Stamped("abc123", "r00", 1, number, 1, 1, RobotStarted()))
            watch.poll(is_leading=True)
    finally:
        logger.propagate = was_passed_on
    # Then the error is logged, once
    assert emitted == []
    assert [record.getMessage() for record in caplog.records] == [
        "a rule of anomalies failed; it goes on with the next event"
    ]


def test_odd_events_disarm_no_rule() -> None:
    # Given a detector that reads events of no robot, and plans that are none
    def shard(robot: str) -> int:
        return int(robot[1:]) % 2

    detector = AnomalyDetector(TICK_US, shard)
    sent = MessageSent("r01", 1, "summary", "00" * 8, 0, 10, 0)
    odd: list[tuple[str, AnyEvent]] = [("relay:x", sent), ("", sent), ("r" * 500, sent)]
    odd += [("relay:0", PlanChanged(0, (), plan)) for plan in ((" ",), ("loss x",), ("",), ("loss",))]
    # When they come, then nothing is raised
    for number, (source, event) in enumerate(odd, start=1):
        detector.observe(Stamped("abc123", source, 1, number, 1, 1, event), number)
        detector.advance(number)
    # And a robot's own envelope that gets no fate is still noticed
    detector.observe(Stamped("abc123", "r00", 1, 1, EPOCH_US, 1, sent), 100)
    for step in range(40):
        detector.advance(100 + step * TICK_US)
    assert "relay lag" in {event.rule for event in detector.announcements() if isinstance(event, AnomalyBegan)}


@pytest.mark.parametrize(
    "value", [{"stuck_ticks": 30, "unheard": 9}, "stuck_ticks 30, unheard=9", "unheard 9,stuck_ticks 30.0"]
)
def test_thresholds_are_read_from_a_table_and_from_a_text(value: object) -> None:
    thresholds = read_thresholds(value)

    assert thresholds == Thresholds(stuck_ticks=30, unheard=9)
    assert read_thresholds(format_thresholds(thresholds)) == thresholds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("stuck 30", "'stuck' is no threshold; allowed are restarts"),
        ("stuck_ticks", "'stuck_ticks' is no threshold with a number"),
        ("stuck_ticks soon", "'stuck_ticks soon' is no threshold with a number"),
        ("stuck_ticks 0", "stuck_ticks: 0 is outside of what is allowed: a number above 0, 1000000 at most"),
        ("stuck_ticks nan", "stuck_ticks: nan is outside of what is allowed"),
        ({"copies_begin_share": 2}, "copies_begin_share: 2 is outside of what is allowed: a number from 0 to 1"),
        ("unheard 2.5", "unheard: 2.5 is outside of what is allowed: a whole number from 1 to 100000"),
    ],
)
def test_a_threshold_that_is_none_is_named(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_thresholds(value)


def test_robots_of_a_run_that_is_held_back_are_not_late() -> None:
    # Given robots that have shown more than their birth, and a run that is held back for a minute
    scene = Scene()
    scene.emit("lab", RunHeldBack(4))
    scene.wait(600)
    assert scene.announced == []

    # When a person lets it begin, and one robot stays silent
    scene.emit("lab", RunStarted(4))
    scene.live(10, silent=["r03"])
    assert scene.begun(LATE_BEAT) == []

    # Then its silence counts from there
    scene.live(10, silent=["r03"])
    assert [robot for _, robot in scene.begun(LATE_BEAT)] == ["r03"]
