"""What each process of a run went through, from the events that tell it."""

from __future__ import annotations

from telemetry.events import (
    RECALLED,
    EvidenceLost,
    FatesDecided,
    FaultInjected,
    ProcessDied,
    ProcessStarted,
    RelayDeposed,
    RelayMissing,
    RelayResumed,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotLeft,
    RobotLost,
    RobotRecovered,
    RobotWaiting,
    RunStopped,
    ServerForgot,
    SupervisorBegan,
    SupervisorStalled,
    TicksExecuted,
    WorkerCrashed,
    WorkerGaveUp,
)
from telemetry.scene.processes.stretches import deaths_in, lives_of
from tests.telemetry.scene.script import GO_US, Script


def batch(shard: int = 0, lost: int = 0) -> FatesDecided:
    return FatesDecided(shard, 1, lost, 0, 0, 0, 0, 0, 1, 0, 0, 1000)


# Robots
def test_a_robot_that_the_lab_kills_is_down_until_its_next_life() -> None:
    # Given a robot that is complete
    run = Script()
    run.report(100, "r01", RobotComplete(3))
    # When the lab kills it, its death is seen, and it is born again
    run.report(500, "lab", FaultInjected("kill", "robot", "r01"))
    run.report(501, "lab", ProcessDied("r01", 0, -9))
    run.report(550, "r01", RobotRecovered(49_000), life=2)
    run.report(550, "r01", RobotBorn(3, 4), life=2)
    # Then the injection is the reason, and the second life begins complete or not as the view says
    assert run.line("r01") == [
        (-50, "up", "life 1"),
        (100, "complete", "holds all parts"),
        (500, "down", "killed (injected)"),
        (550, "up", "life 2"),
        (550, "complete", "life 2"),
    ]


def test_a_death_that_nothing_injected_is_dated_by_the_next_life() -> None:
    # Given a robot that someone killed by hand: no event tells it
    run = Script()
    # When its next life reports for how long it was dead
    run.report(900, "r01", RobotRecovered(200_000), life=2)
    run.report(900, "r01", RobotBorn(1, 3), life=2)
    # Then the stretch begins that long before
    assert run.line("r01")[1] == (700, "down", "it died; nothing was injected")


def test_an_injection_that_is_reported_after_the_next_birth_takes_its_place_by_its_time() -> None:
    # Given a robot whose next life was reported before the injection that ended the last one
    run = Script()
    run.report(550, "r01", RobotBorn(1, 3), life=2)
    # When that comes late
    run.report(500, "lab", FaultInjected("kill", "r01", "r01"))
    # Then the robot is not held dead now
    assert run.conditions("r01") == [(-50, "up"), (500, "down"), (550, "up")]


def test_a_robot_that_was_ordered_to_end_and_did_not_is_alive_once_it_reports() -> None:
    # Given a kill that was only requested of another host
    run = Script()
    run.report(500, "supervisor:1", FaultInjected("kill", "r01", "r01"))
    # When the same life goes on to report, more than a second later
    run.report(1400, "r01", TicksExecuted(5))
    assert run.conditions("r01")[-1] == (500, "down")
    run.report(1600, "r01", TicksExecuted(5))
    # Then it lives
    assert run.line("r01")[-1] == (1600, "up", "it lives on")
    assert [life.ended_us for life in lives_of(run.scene.lifelines.lines["r01"])] == [None]


def test_a_pause_ends_with_the_condition_from_before() -> None:
    # Given a robot that is complete, and paused
    run = Script()
    run.report(100, "r01", RobotComplete(3))
    run.report(500, "lab", FaultInjected("pause", "r01", "r01"))
    assert run.line("r01")[-1] == (500, "paused", "paused (injected)")
    # When it is resumed
    run.report(900, "lab", FaultInjected("resume", "r01", "r01"))
    # Then it is complete again
    assert run.conditions("r01")[-1] == (900, "complete")


def test_a_resume_of_a_robot_that_died_in_its_pause_changes_nothing() -> None:
    # Given a robot that its RQ worker killed while it was paused
    run = Script()
    run.report(500, "lab", FaultInjected("pause", "r01", "r01"))
    run.report(2600, "r01", RobotRecovered(100_000), life=2)
    run.report(2600, "r01", RobotBorn(1, 3), life=2)
    # When the pause is over
    run.report(5500, "lab", FaultInjected("resume", "r01", "r01"))
    # Then its second life goes on as it was
    assert run.conditions("r01") == [(-50, "up"), (500, "paused"), (2500, "down"), (2600, "up")]


def test_a_restart_is_the_reason_of_the_end_that_follows() -> None:
    # Given a robot that is told to hand its job back
    run = Script()
    run.report(500, "lab", FaultInjected("restart", "robot", "r01"))
    assert run.conditions("r01")[-1] == (-50, "up")  # it has not ended yet
    # When it has
    run.report(530, "r01", RobotLeft(RECALLED))
    # Then the restart is why, and once it lives again a later end has reasons of its own
    assert run.line("r01")[-1] == (530, "down", "restarted (injected)")
    run.report(600, "r01", RobotBorn(1, 3), life=2)
    run.report(700, "r01", RobotLeft(RECALLED), life=2)
    assert run.line("r01")[-1] == (700, "down", "recalled, to live on elsewhere")


def test_a_robot_whose_rq_worker_is_killed_goes_down_with_it() -> None:
    # Given an RQ worker that the lab kills
    run = Script()
    run.report(-90, "lab", ProcessStarted("rq:w01", 4))
    run.report(500, "lab", FaultInjected("kill", "rq:r01", "rq:r01"))
    run.report(502, "lab", ProcessDied("rq:r01", 4, -9))
    # When its robot lives on in another one
    run.report(600, "r01", RobotBorn(1, 3), life=2)
    # Then both lines show it
    assert run.line("r01")[1:] == [(502, "down", "its RQ worker was killed (injected)"), (600, "up", "life 2")]
    assert run.conditions("rq:r01") == [(-100, "up"), (500, "down"), (600, "up")]


def test_a_robot_that_waits_for_an_rq_worker_is_shown_so() -> None:
    # Given a robot whose RQ worker's lease ran out, and which was queued
    run = Script()
    run.report(500, "supervisor:1", RobotLost("r01", "vm.1"))
    run.report(1500, "supervisor:1", RobotWaiting("r01", (1,), 0))
    run.report(2500, "supervisor:1", RobotWaiting("r01", (1,), 1))
    # Then it is down, then it waits, once
    assert run.line("r01")[1:] == [
        (500, "down", "the lease of its RQ worker ran out"),
        (1500, "waiting", "no RQ worker is free"),
    ]


def test_a_robot_is_dead_for_good_when_its_journal_its_budget_or_its_turn_is_gone() -> None:
    # Given three robots
    run = Script(4)
    # When one lost its journal, one its budget, and one found a later life of its own
    run.report(500, "r00", EvidenceLost("journal"), life=0)
    run.report(500, "r01", WorkerGaveUp("r01", 6), life=0)
    run.report(500, "r02", RobotFenced("journal"))
    # Then all three are dead, and the last one is not if it was an older life that was fenced
    assert [run.conditions(robot)[-1] for robot in ("r00", "r01", "r02")] == [(500, "dead")] * 3
    run.report(600, "r03", RobotBorn(1, 3), life=2)
    run.report(700, "r03", RobotFenced("journal"), life=1)
    assert run.conditions("r03")[-1] == (600, "up")


def test_the_end_of_the_run_is_no_injection() -> None:
    # Given a robot that was restarted just before the run ended
    run = Script()
    run.report(500, "lab", FaultInjected("restart", "r01", "r01"))
    # When it leaves in order
    run.report(600, "lab", RunStopped("complete"))
    run.report(610, "r01", RobotLeft("complete"))
    # Then the run is why
    assert run.line("r01")[-1] == (610, "left", "the run ended (complete)")


def test_lives_are_read_from_the_line() -> None:
    # Given a robot that was killed, and completed in its second life
    run = Script()
    run.report(500, "lab", FaultInjected("kill", "r01", "r01"))
    run.report(550, "r01", RobotBorn(1, 3), life=2)
    run.report(700, "r01", RobotComplete(3), life=2)
    # Then both lives are told, each with its end
    lives = lives_of(run.scene.lifelines.lines["r01"])
    assert [(life.number, life.ended_us and life.ended_us - GO_US, life.how) for life in lives] == [
        (1, 500_000, "killed (injected)"),
        (2, None, ""),
    ]
    assert [life.complete_us and life.complete_us - GO_US for life in lives] == [None, 700_000]
    assert len(deaths_in(run.scene.lifelines.lines["r01"], GO_US)) == 1
    assert deaths_in(run.scene.lifelines.lines["r01"], GO_US + 500_000) == []


# What is no end
def test_what_does_not_end_a_process_is_a_note() -> None:
    # Given injections that leave the process alive, and what followed
    run = Script()
    run.report(500, "lab", FaultInjected("crash", "r01/secret_merger", "r01/secret_merger"))
    run.report(501, "r01", WorkerCrashed("secret_merger", "InjectedCrash: injected"))
    run.report(600, "lab", FaultInjected("contradict", "r01", "r01"))
    # Then its line goes on, with notes
    assert run.conditions("r01") == [(-50, "up")]
    assert [note.text for note in run.scene.lifelines.notes["r01"]] == [
        "crash of secret_merger (injected)",
        "secret_merger crashed: InjectedCrash: injected",
        "contradictory update (injected)",
    ]


# Relays
def test_a_relay_whose_first_word_is_a_batch_was_there_since_the_deal() -> None:
    # Given a simulated run, whose relays are not reported to start
    run = Script(shards=2)
    # When they decide
    run.report(10, "relay:0", batch(0))
    run.report(10, "relay:1", batch(1))
    # Then both lines begin with the run
    assert run.conditions("relay:0") == run.conditions("relay:1") == [(-100, "up")]


def test_a_standby_relay_that_took_a_shard_keeps_it_when_the_old_one_dies() -> None:
    # Given a relay that is paused, and a standby one that takes its shard over
    run = Script()
    run.report(-90, "lab", ProcessStarted("relay:0", 5))
    run.report(-80, "relay:0", RelayResumed(0, 0))
    run.report(500, "lab", FaultInjected("pause", "relay:0", "relay:0"))
    run.report(1500, "standby:ab", RelayResumed(0, 2))
    # When the old one goes on, finds that it lost the lease, and dies
    run.report(2500, "lab", FaultInjected("resume", "relay:0", "relay:0"))
    run.report(2510, "relay:0", RelayDeposed(0))
    run.report(2600, "lab", ProcessDied("relay:0", 5, -9))
    # Then the shard is served all the time since
    assert run.line("relay:0")[-2:] == [
        (500, "paused", "paused (injected)"),
        (1500, "up", "standby:ab took the shard, 2 entries to redo"),
    ]


def test_a_shard_without_a_relay_is_down_until_one_comes() -> None:
    # Given a run without a parent
    run = Script()
    run.report(0, "supervisor:1", RelayMissing(0))
    # When a standby relay comes
    run.report(800, "standby:ab", RelayResumed(0, 0))
    # Then the line shows both
    assert run.conditions("relay:0") == [(0, "down"), (800, "up")]


def test_a_relay_that_lost_its_lease_and_that_another_follows_is_down_between() -> None:
    # Given a relay that finds that it lost its lease before another one reported
    run = Script()
    run.report(-80, "relay:0", RelayResumed(0, 0))
    run.report(500, "relay:0", RelayDeposed(0))
    run.report(900, "relay:0", RelayResumed(0, 1))
    # Then it is down in between
    assert run.conditions("relay:0")[1:] == [(500, "down"), (900, "up")]


# The server and the supervisor
def test_a_killed_server_is_down_until_it_is_started_again() -> None:
    # Given the run's own server
    run = Script()
    run.report(-90, "lab", ProcessStarted("redis", 7))
    run.report(500, "lab", FaultInjected("kill", "redis", "redis"))
    run.report(503, "lab", ProcessDied("redis", 7, -9))
    run.report(530, "lab", ProcessStarted("redis", 8))
    run.report(540, "r00", ServerForgot("entries"))
    run.report(541, "r01", ServerForgot("entries"))
    # Then its line shows it, and one note that it came back older
    assert run.conditions("redis") == [(-90, "up"), (500, "down"), (530, "up")]
    assert [note.text for note in run.scene.lifelines.notes["redis"]] == ["came back without its newest data"]


def test_a_supervisor_that_stood_still_is_shown_so_for_as_long_as_it_did() -> None:
    # Given a leader that took no step for 300 ms, and a successor
    run = Script()
    run.report(-80, "supervisor:1", SupervisorBegan(False))
    run.report(800, "supervisor:1", SupervisorStalled(300_000))
    run.report(2000, "supervisor:2", SupervisorBegan(True))
    # Then
    assert run.line("supervisor") == [
        (-80, "up", "supervisor:1 leads"),
        (500, "paused", "took no step for 300 ms"),
        (800, "up", "supervisor:1 leads"),
        (2000, "up", "supervisor:2 leads"),
    ]


def test_a_copy_of_the_lines_does_not_see_what_follows() -> None:
    # Given a copy
    run = Script()
    copied = run.scene.lifelines.copy()
    # When the run goes on
    run.report(500, "lab", FaultInjected("kill", "r01", "r01"))
    run.report(600, "lab", FaultInjected("contradict", "r02", "r02"))
    # Then the copy is as it was
    assert [stretch.condition for stretch in copied.lines["r01"]] == ["up"]
    assert copied.notes == {}
