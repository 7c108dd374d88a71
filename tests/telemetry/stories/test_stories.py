"""Which stories are told of a run: each from its beginning to its end, in one line."""

from __future__ import annotations

from telemetry.events import (
    RECALLED,
    AnomalyBegan,
    AnomalyEnded,
    AnyEvent,
    ChannelPressure,
    EvidenceLost,
    FaultInjected,
    InvariantViolated,
    PlanChanged,
    ProcessDied,
    ProcessStarted,
    RelayMissing,
    RelayResumed,
    RobotBorn,
    RobotComplete,
    RobotJoined,
    RobotLeft,
    RobotLost,
    RobotRecovered,
    RobotWaiting,
    RunStopped,
    SupervisorBegan,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerStarted,
)
from tests.telemetry.stories.reported import Reported


def kill(reported: Reported, at_s: float, robot: str = "r03") -> None:
    reported.event(at_s, FaultInjected("kill", "robot", robot))


def be_born(reported: Reported, at_s: float, life: int, robot: str = "r03", parts: int = 3) -> None:
    reported.event(at_s, RobotRecovered(15_000), robot, life)
    reported.event(at_s, RobotBorn(parts, 3), robot, life)


def test_a_death_and_its_recovery_are_one_story() -> None:
    reported = Reported()
    kill(reported, 0.6)
    reported.event(0.603, ProcessDied("rq:r03", 17, -9))  # the same death, by another report
    assert reported.texts(0.61) == []
    be_born(reported, 0.615, 2)

    assert reported.texts(0.62) == ["0.600 r03 killed (injected); life 2 after 15 ms, replayed 3 entries"]
    assert reported.until(1)[0].about == ("r03",)


def test_a_robot_that_is_not_back_is_reported_after_a_while_and_so_is_its_return() -> None:
    # Given a death
    reported = Reported()
    kill(reported, 1)
    assert reported.texts(2.9) == []
    # When the robot is not back for long
    assert reported.texts(3) == ["1.000 r03 killed (injected); not back after 2 s"]
    assert reported.texts(8.2) == ["1.000 r03 killed (injected); not back after 7 s"]
    # Then its return ends that story, with a sentence for those who have read its beginning
    be_born(reported, 9, 2)
    assert reported.texts(9) == ["1.000 r03 killed (injected); life 2 after 8.00 s, replayed 3 entries"]
    assert reported.until(9)[0].sequel == "r03 is back: life 2 after 8.00 s, replayed 3 entries"


def test_a_death_that_no_other_process_saw_is_reported_with_the_next_life() -> None:
    reported = Reported()
    reported.event(1, RobotRecovered(110_000), "r03", 2)
    reported.event(1.001, RobotBorn(3, 14), "r03", 2)
    assert reported.texts(1.001) == ["1.000 r03 died, and is back after 110 ms; life 2, replayed 14 entries"]


def test_reports_of_a_death_that_come_after_its_recovery_report_nothing_new() -> None:
    # Given a death of which the recovery is reported first
    reported = Reported()
    be_born(reported, 1.05, 2)
    # When the reports of the death come
    reported.event(1.001, ProcessDied("rq:r03", 17, -9))
    reported.event(1.002, RobotLost("r03", "host.1"))
    kill(reported, 1.0)
    # Then nothing goes on, and only the injection is told
    reported.event(9, RunStopped("complete"))
    assert [text for text in reported.texts(9) if "not back" in text] == []
    assert "1.000 r03 killed (injected)" in reported.texts(9)


def test_a_second_death_before_the_next_life_belongs_to_the_first() -> None:
    reported = Reported()
    for at_s in (1, 1.5, 1.9):
        kill(reported, at_s)
    be_born(reported, 2, 2)
    assert reported.texts(2) == ["1.000 r03 killed (injected), and again; life 2 after 1.00 s, replayed 3 entries"]


def test_a_robot_that_loses_its_journal_will_not_live_again() -> None:
    reported = Reported()
    reported.event(1, FaultInjected("amnesia", "r03", "r03"))
    reported.event(1.1, EvidenceLost("journal"), "r03", 0)
    assert reported.texts(2) == ["1.000 r03 killed, and its journal deleted (injected); it will not live again"]
    # Of one that died otherwise, the reason is named
    reported.event(2, ProcessDied("rq:r04", 9, -9))
    reported.event(2.1, EvidenceLost("journal"), "r04", 0)
    assert "it will not live again, because its journal is gone" in reported.texts(3)[-1]


def test_a_pause_that_outlasts_the_lease_was_no_silence() -> None:
    reported = Reported()
    reported.event(1, FaultInjected("pause", "r03", "r03"))
    reported.event(4, RobotLost("r03", "host.1"))
    [story] = reported.texts(4)
    assert story.startswith("1.000 r03 paused (injected); lost: its RQ worker did not renew its lease")


def test_a_robot_that_waits_is_reported_at_once_and_goes_on_later() -> None:
    reported = Reported()
    reported.event(1, RobotLost("r03", "host.1"))
    reported.event(1.2, RobotWaiting("r03", (1, 3)))
    reported.event(7.2, RobotWaiting("r03", (1, 3), 6))
    lost = "1.000 r03 is lost: its RQ worker host.1 did not renew its lease"
    waits = "it waits: no RQ worker is free; no living robot holds parts 1, 3"
    assert reported.texts(1.2) == [f"{lost}; {waits}"]
    be_born(reported, 9, 2)
    assert reported.texts(9) == [f"{lost}; {waits}; life 2 after 8.00 s, replayed 3 entries"]


def test_a_robot_that_gives_its_job_back_in_order_has_not_died() -> None:
    reported = Reported()
    reported.event(1, FaultInjected("restart", "r03", "r03"))
    reported.event(1.01, RobotLeft(RECALLED), "r03")
    reported.event(1.06, RobotBorn(3, 4), "r03", 2)
    assert reported.texts(2) == ["1.000 r03 restarted (injected); life 2 after 60 ms, replayed 4 entries"]


def test_a_pause_ends_with_its_resumption_or_with_the_death_of_the_process() -> None:
    reported = Reported()
    reported.event(1, FaultInjected("pause", "r01", "r01"))
    reported.event(2, FaultInjected("resume", "r01", "r01"))
    reported.event(3, FaultInjected("pause", "r02", "r02"))
    reported.event(5, ProcessDied("r02", 17, -9))
    be_born(reported, 5.1, 2, "r02")
    reported.event(6, FaultInjected("pause", "r02", "r02"))
    kill(reported, 6.5, "r02")
    be_born(reported, 6.6, 3, "r02")
    assert reported.texts(7) == [
        "1.000 r01 paused (injected); goes on after 1.00 s",
        "3.000 r02 paused (injected); killed, because it was silent; life 2 after 2.10 s, replayed 3 entries",
        "6.000 r02 paused (injected); killed (injected); life 3 after 600 ms, replayed 3 entries",
    ]


def test_a_worker_that_crashes_and_runs_again_is_one_story() -> None:
    reported = Reported()
    reported.event(1, FaultInjected("crash", "r01/secret_merger", "r01/secret_merger"))
    reported.event(1.001, WorkerCrashed("secret_merger", "InjectedCrash: injected"), "r01")
    reported.event(1.017, WorkerStarted("secret_merger"), "r01")
    assert reported.texts(1.1) == ["1.000 r01's secret_merger crashed (injected); runs again after 17 ms"]


def test_a_storm_of_crashes_is_one_story_until_the_robot_ends() -> None:
    reported = Reported()
    for number in range(4):
        reported.event(1 + number / 10, WorkerCrashed("inbox_reader", "ValueError: no"), "r01")
        reported.event(1.05 + number / 10, WorkerStarted("inbox_reader"), "r01")
    reported.event(1.5, WorkerCrashed("inbox_reader", "ValueError: no"), "r01")
    reported.event(1.5, WorkerGaveUp("inbox_reader", 5), "r01")
    be_born(reported, 1.6, 2, "r01")
    assert reported.texts(2) == [
        "1.000 r01's inbox_reader crashed (ValueError: no), 4 times; runs again after 50 ms",
        "1.500 r01's inbox_reader crashed (ValueError: no); too often (5 times), so r01 ended; life 2 after 100 ms,"
        " replayed 3 entries",
    ]


def test_a_robot_that_died_too_often_is_reported_for_good() -> None:
    reported = Reported()
    kill(reported, 1)
    reported.event(1.2, WorkerGaveUp("r03", 5), "r03", 0)
    assert reported.texts(2) == ["1.000 r03 killed (injected); it will not live again: it died too often (5 times)"]


def test_a_relay_and_its_successor_are_one_story() -> None:
    reported = Reported()
    reported.event(1, FaultInjected("kill", "relay", "relay:0"))
    reported.event(1.01, ProcessDied("relay:0", 9, -9))
    reported.event(1.06, RelayResumed(0, 3), "relay:0", 2)
    reported.event(2, FaultInjected("kill", "relay", "relay:1"))
    reported.event(3, RelayMissing(1))
    assert reported.texts(3)[1:] == [
        "2.000 relay:1 killed (injected); shard 1 has no relay: what is sent there waits (robots relay)"
    ]
    reported.event(4, RelayResumed(1, 0), "standby:ab", 1)
    assert reported.texts(4) == [
        "1.000 relay:0 killed (injected); the next one takes over after 60 ms, with 3 envelopes to decide again",
        "2.000 relay:1 killed (injected); shard 1 has no relay: what is sent there waits (robots relay);"
        " standby:ab takes over after 2.00 s",
    ]


def test_the_server_and_the_supervisor_come_back() -> None:
    reported = Reported()
    reported.event(1, FaultInjected("kill", "redis", "redis"))
    reported.event(1.01, ProcessDied("redis", 9, -9))
    reported.event(1.04, ProcessStarted("redis", 10))
    reported.event(2, FaultInjected("kill", "supervisor", "supervisor"))
    reported.event(3.2, SupervisorBegan(is_successor=True), "supervisor:cd")
    assert reported.texts(4) == [
        "1.000 the server killed (injected); it is back after 40 ms",
        "2.000 the supervisor killed (injected); supervisor:cd leads the run after 1.20 s",
    ]


def test_overload_of_many_robots_at_the_same_time_is_one_story() -> None:
    reported = Reported()
    for number in range(4):
        reported.event(1 + number / 10, ChannelPressure("outbox", 1), f"r0{number}")
        reported.event(1.05 + number / 10, AnomalyBegan("channel pressure", f"r0{number}/outbox", "1 dropped"))
    reported.event(3, ChannelPressure("outbox", 2), "r02")
    assert reported.texts(4) == [
        "1.000 r00..r03 could not send envelopes: the outbox is full, or the server away",
        "3.000 r02 could not send envelopes: the outbox is full, or the server away",
    ]


def test_anomalies_of_one_rule_are_one_story_and_so_are_their_ends() -> None:
    reported = Reported()
    for number in range(3):
        reported.event(1, AnomalyBegan("stuck robot", f"r0{number}", f"holds {number} parts"))
        reported.event(3, AnomalyEnded("stuck robot", f"r0{number}", 2_000_000))
    assert reported.texts(4) == [
        "1.000 unusual: r00..r02 (stuck robot), first r00: holds 0 parts",
        "3.000 not unusual any more: r00..r02 (stuck robot)",
    ]


def test_the_plan_is_reported_once_and_not_when_it_ends_with_the_run() -> None:
    reported = Reported()

    def change(at_s: float, old: tuple[str, ...], new: tuple[str, ...], request: str = "", refusal: str = "") -> None:
        for shard in (0, 1):
            reported.event(at_s, PlanChanged(shard, old, new, request, refusal), f"relay:{shard}")

    change(1, (), ("loss 0.2",))
    change(2, ("loss 0.2",), ("loss 0.2", "partition r00|r01"))
    change(2.5, ("loss 0.2",), ("loss 0.2", "partition r00|r01"))  # by the relay's successor
    change(3, ("loss 0.2", "partition r00|r01"), ("loss 0.5",), "set loss .5")
    change(4, ("loss 0.5",), ("loss 0.5",), "set loss 7", "7 is no probability")
    reported.event(5, RunStopped("complete"))
    change(5.1, ("loss 0.5",), ())
    assert reported.texts(6) == [
        "1.000 faults: loss 0.2",
        "2.000 fault begins: partition r00|r01",
        "3.000 fault begins: loss 0.5; faults end: loss 0.2, partition r00|r01 (requested: set loss .5)",
        "4.000 refused: set loss 7: 7 is no probability",
        "5.000 stop: the secret is written, and every robot that can be is complete",
    ]


def test_the_first_complete_robot_and_the_last_one_are_reported() -> None:
    reported = Reported(3)
    complete: AnyEvent = RobotComplete(11)
    for robot in ("r00", "r01", "r02"):
        reported.event(0.01, RobotBorn(4, 5), robot)
    reported.event(1, complete, "r01")
    reported.event(2, complete, "r00")
    reported.event(2.1, RobotBorn(11, 14), "r01", 2)  # with what it held
    reported.event(3, complete, "r02")
    reported.event(4, RobotJoined("r03"))
    reported.event(5, complete, "r03")
    assert [text for text in reported.texts(9) if "complete" in text] == [
        "1.000 r01 is complete, the first of 3: it holds all 11 parts",
        "3.000 all 3 robots are complete",
        "5.000 all 4 robots are complete",
    ]


def test_what_is_refused_again_and_again_is_one_story() -> None:
    reported = Reported()
    for number in range(3):
        at_s = 1 + number / 10
        reported.event(at_s, InvariantViolated("unique", "another word", 4, "r04", 4_294_967_296, 1, 0), "r03")
    assert reported.texts(2) == [
        "1.000 r03 refused part 4 of r04 (an injected contradiction), which breaks `unique`: another word, 3 times"
    ]


def test_no_story_is_lost_when_the_run_ends() -> None:
    reported = Reported()
    kill(reported, 1)
    reported.event(1, ChannelPressure("parts", 1), "r01")
    reported.event(1.2, RunStopped("limit"))
    assert reported.texts(1.2)[0] == "1.000 r03 killed (injected); not back when the run ended"
    reported.stories.close()
    assert len(reported.stories.whole) == len(reported.until(9)) + 2  # the beginning, too
    assert not list(reported.stories.open)


def test_a_copy_does_not_see_what_comes_later_and_the_other_does_not_see_what_comes_to_the_copy() -> None:
    reported = Reported()
    kill(reported, 1)
    copy = Reported()
    copy.stories = reported.stories.copy()
    be_born(reported, 1.1, 2)
    be_born(copy, 1.5, 2)
    kill(copy, 3, "r01")
    assert reported.texts(9) == ["1.000 r03 killed (injected); life 2 after 100 ms, replayed 3 entries"]
    assert copy.texts(9)[0] == "1.000 r03 killed (injected); life 2 after 500 ms, replayed 3 entries"


def test_stories_stand_in_the_order_of_their_beginnings() -> None:
    reported = Reported()
    kill(reported, 1)
    reported.event(1.01, RobotJoined("r04"))
    be_born(reported, 1.1, 2)
    reported.event(0.9, RobotJoined("r05"))
    assert [text[:5] for text in reported.texts(2)] == ["0.900", "1.000", "1.010"]
