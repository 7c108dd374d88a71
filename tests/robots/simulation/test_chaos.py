"""Chaos in virtual time: processes die, stand still, crash and forget, and all promises hold. A seed is one history."""

from collections import Counter
from pathlib import Path

import pytest

from broker.envelope import NO_LIFE
from broker.faults.process_faults import WORKERS
from broker.ports.robot import Death
from deploy.config.experiment import prepare
from robots.robot import Life
from robots.simulation.simulate import digest_of, simulate
from telemetry.events import (
    RECALLED,
    EvidenceLost,
    FaultInjected,
    InjectionFailed,
    InvariantViolated,
    MessageSent,
    PartsMerged,
    ProcessDied,
    RelayResumed,
    RobotBorn,
    RobotLeft,
    WorkerCrashed,
    WorkerRestarted,
)
from tests.robots.simulation.judged_runs import LOSSY, SECRET, assert_nothing_was_lost_nor_learnt_twice, run

# Killed robots.


@pytest.mark.parametrize("seed", range(5))
def test_robots_that_are_killed_all_the_time_still_write_the_secret_once(tmp_path: Path, seed: int) -> None:
    # Given robots of which any one is killed every 500 ms, over a network that loses and duplicates
    ended = run(tmp_path, *LOSSY, "kill robot every 500ms", seed=seed, for_="6s")

    # Then twelve died, one life followed each, and every promise held
    assert ended.simulated.ended == "complete"
    assert len(ended.deaths) == 12
    assert len(ended.events(RobotBorn)) == 6 + 12
    assert ended.broken() == {}
    assert [write.secret.decode() for write in ended.simulated.evidence.writes] == [SECRET]
    assert_nothing_was_lost_nor_learnt_twice(ended)


def test_a_storm_of_everything_breaks_no_promise(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        *LOSSY,
        robots=12,
        for_="12s",
        relays=2,
        chaos="kill robot every 300ms; kill relay every 700ms; crash r05/secret_merger every 200ms",
        kill="relay:1@3s",
        restart="redis@6s",
        pause="r01@9s+5s",
    )

    assert ended.simulated.ended == "complete"
    assert ended.broken() == {"played": "an injection failed: crash r05/secret_merger (it cannot be done to r05 now)"}
    assert_nothing_was_lost_nor_learnt_twice(ended)


def test_a_seed_is_one_history_whatever_faults_the_fleet_has(tmp_path: Path) -> None:
    chaos = ("kill robot every 200ms", "pause robot @300ms+700ms every 1s", "restart redis @1s", "kill relay @1500ms")

    first, again, other = (run(tmp_path, *LOSSY, *chaos, seed=seed, for_="3s") for seed in (3, 3, 4))

    assert digest_of(first.simulated) == digest_of(again.simulated)
    assert digest_of(first.simulated) != digest_of(other.simulated)
    assert [injection.victim for injection in first.injections] != [injection.victim for injection in other.injections]


def test_any_robot_means_each_of_them_in_the_long_run(tmp_path: Path) -> None:
    ended = run(tmp_path, "kill robot every 100ms", for_="10s")

    drawn = Counter(injection.victim for injection in ended.injections)
    assert drawn.total() == 100
    assert set(drawn) == {f"r{number:02d}" for number in range(6)}


def test_a_killed_robot_does_nothing_more_and_goes_on_from_its_journal(tmp_path: Path) -> None:
    # When a robot is killed in the midst of gossip
    ended = run(tmp_path, *LOSSY, "kill r02 @130ms")

    # Then nothing came from that life afterwards, not even a clean-up
    killed_us = ended.go_us + 130_000
    first, second = ended.events(RobotBorn, "r02")
    last_words = [stamped for stamped in ended.simulated.events if (stamped.source, stamped.incarnation) == ("r02", 1)]
    assert max(stamped.monotonic_us for stamped in last_words) <= killed_us
    # and the next life began 50 ms later, since a kill is not charged, with what the first had journalled
    assert second.monotonic_us == killed_us + 50_000
    merged = [stamped.event.held for stamped in ended.events(PartsMerged, "r02") if stamped.incarnation == 1]
    assert second.event.parts == max([first.event.parts, *merged])
    assert ended.broken() == {}


def test_a_killed_rq_worker_takes_its_robot_with_it(tmp_path: Path) -> None:
    ended = run(tmp_path, "kill rq:r02 @130ms")

    (death,) = ended.deaths
    assert (death.victim, death.robot, death.incarnation, death.how, death.status) == ("rq:r02", "r02", 1, "signal", -9)
    assert len(ended.events(RobotBorn, "r02")) == 2
    assert ended.broken() == {}


def test_an_injection_stands_in_the_log_before_the_death_that_it_excuses(tmp_path: Path) -> None:
    ended = run(tmp_path, "kill r02 @130ms")

    injection, death = ended.simulated.evidence.fleet
    assert (f"{injection.verb} {injection.target}", injection.victim) == ("kill r02", "r02")
    assert isinstance(death, Death)


def test_a_fault_without_a_victim_is_not_injected_and_excuses_nothing(tmp_path: Path) -> None:
    # Given a robot that is dead when it is to be killed again, one that stands still already, and others
    again = ("kill r02 @150ms", "kill rq:r02 @160ms", "pause r03 @100ms+900ms", "pause r03 @150ms+100ms")
    ended = run(tmp_path, "kill r02 @130ms", *again)

    # Then an event says what cannot be done, and it does not stand in the log
    assert [f"{failed.verb} {failed.target}" for failed in ended.happened(InjectionFailed)] == [
        *("kill r02", "pause r03", "kill rq:r02")
    ]
    assert [(f"{injection.verb} {injection.target}", injection.victim) for injection in ended.injections] == [
        *(("pause r03", "r03"), ("kill r02", "r02"), ("resume r03", "r03"))
    ]
    assert ended.broken() == {"played": "an injection failed: kill r02 (there is no r02 now)"}


def test_a_robot_that_dies_of_itself_too_often_is_not_restarted(tmp_path: Path) -> None:
    # Given contradictions that crash a merger more often than any budget allows
    ended = run(tmp_path, "contradict r00 every 20ms", robots=3, for_="5s", limit="8s")

    # Then its lives ended by themselves until the last one was not born any more
    own = [death for death in ended.deaths if death.robot == "r00"]
    assert len(own) == 6
    assert {death.how for death in own} == {"exit"}


# Robots that are recalled.


@pytest.mark.parametrize("seed", range(5))
def test_robots_that_are_restarted_all_the_time_die_of_it_never(tmp_path: Path, seed: int) -> None:
    # Given robots of which any one is recalled every 300 ms, over a network that loses and duplicates
    ended = run(tmp_path, *LOSSY, "restart robot every 300ms", seed=seed, for_="6s")

    # Then each of twenty lives left in order, another one followed it, and every promise held
    assert ended.simulated.ended == "complete"
    assert [left.reason for left in ended.happened(RobotLeft)].count(RECALLED) == 20
    assert len(ended.events(RobotBorn)) == 6 + 20
    assert ended.deaths == []
    assert ended.broken() == {}
    assert_nothing_was_lost_nor_learnt_twice(ended)


@pytest.mark.parametrize("victim", ["r02", "rq:r02"])
def test_a_recalled_robot_goes_on_from_its_journal(tmp_path: Path, victim: str) -> None:
    # When a robot is recalled in the midst of gossip
    ended = run(tmp_path, *LOSSY, f"restart {victim} @130ms")

    # Then its life left, and had nothing unacknowledged
    recalled_us = ended.go_us + 130_000
    left, last = ended.events(RobotLeft, "r02")
    assert (left.event.reason, left.incarnation) == (RECALLED, 1)
    assert left.monotonic_us - recalled_us < 20_000
    # and the next life began 50 ms later, with what the first had journalled
    first, second = ended.events(RobotBorn, "r02")
    assert second.monotonic_us == left.monotonic_us + 50_000
    merged = [stamped.event.held for stamped in ended.events(PartsMerged, "r02") if stamped.incarnation == 1]
    assert second.event.parts == max([first.event.parts, *merged])
    # and no robot died
    assert ended.simulated.evidence.fleet == ended.injections
    assert [(f"{injection.verb} {injection.target}", injection.victim) for injection in ended.injections] == [
        (f"restart {victim}", victim)
    ]
    assert not ended.happened(ProcessDied)
    assert (last.event.reason, last.incarnation) == ("complete", 2)
    assert ended.broken() == {}


def test_a_robot_is_not_missed_between_two_lives_when_the_run_could_end(tmp_path: Path) -> None:
    # Given a robot that is recalled just before the end
    ended = run(tmp_path, "restart r02 @1999ms", for_="2s")

    # Then the run waits for its next life
    assert len(ended.events(RobotBorn, "r02")) == 2
    assert ended.simulated.ended == "complete"
    assert ended.result.promises["convergent"].why == "it was written, and all 6 robots in scope are complete"


def test_a_robot_that_is_paused_is_recalled_when_it_continues(tmp_path: Path) -> None:
    ended = run(tmp_path, *LOSSY, "pause r01 @50ms+1s", "restart r01 @100ms", for_="2s")

    left, _ = ended.events(RobotLeft, "r01")
    assert ended.go_us + 1_050_000 <= left.monotonic_us < ended.go_us + 1_100_000
    assert ended.deaths == []
    assert ended.broken() == {}


def test_who_is_not_there_cannot_be_recalled(tmp_path: Path) -> None:
    ended = run(tmp_path, "kill r02 @130ms", "restart r02 @150ms", "restart rq:r02 @150ms")

    assert [f"{failed.verb} {failed.target}" for failed in ended.happened(InjectionFailed)] == [
        "restart r02",
        "restart rq:r02",
    ]
    assert ended.broken() == {"played": "an injection failed: restart r02 (there is no r02 now)"}


# Robots that stand still.


@pytest.mark.parametrize("pause_s", [0.5, 1.9])
def test_a_paused_robot_neither_sends_nor_merges_and_then_goes_on(tmp_path: Path, pause_s: float) -> None:
    ended = run(tmp_path, *LOSSY, f"pause r01 @50ms+{round(pause_s * 1000)}ms", for_="3s")

    paused_us, resumed_us = (ended.go_us + 50_000, ended.go_us + 50_000 + round(pause_s * 1_000_000))
    during = [
        stamped
        for stamped in ended.simulated.events
        if stamped.source == "r01" and paused_us < stamped.monotonic_us < resumed_us
    ]
    assert during == []
    assert [stamped for stamped in ended.events(MessageSent, "r01") if stamped.monotonic_us >= resumed_us]
    assert ended.deaths == []
    assert ended.broken() == {}
    assert_nothing_was_lost_nor_learnt_twice(ended)


def test_a_run_goes_on_until_a_pause_is_over(tmp_path: Path) -> None:
    ended = run(tmp_path, "pause relay @3s+1s")

    assert [stamped.monotonic_us - ended.go_us for stamped in ended.events(FaultInjected)] == [3_000_000, 4_000_000]
    assert ended.simulated.total_us - ended.go_us < 4_200_000


def test_a_pause_does_not_count_as_quiet(tmp_path: Path) -> None:
    # Given a robot that stands still from before the others are complete until long after the quiet period
    ended = run(tmp_path, "pause r01 @20ms+1900ms", for_="4s")

    # Then after it went on it waited its own quiet period before it tried to write
    births = ended.simulated.evidence.births["r01"] or []
    (attempt,) = (row for row in births if row.what == "attempt")
    resumed_us = ended.go_us + 1_920_000 + 946_684_800_000_000
    assert attempt.at_us is not None
    assert attempt.at_us >= resumed_us + 700_000


def test_a_robot_that_stands_still_for_too_long_is_killed_and_born_again(tmp_path: Path) -> None:
    ended = run(tmp_path, *LOSSY, "pause r01 @50ms+4s")

    (death,) = ended.deaths
    assert (death.victim, death.how) == ("r01", "silent")
    assert len(ended.events(RobotBorn, "r01")) == 2
    assert ended.broken() == {}


def test_a_pause_that_is_ended_early_is_over_and_its_own_end_is_no_event(tmp_path: Path) -> None:
    # Given a pause that would have been the robot's death, and its end by hand
    ended = run(tmp_path, *LOSSY, "pause r01 @50ms+20s", "resume r01 @1s")

    # Then the robot lives on from there, and the run need not wait until the pause would have ended
    assert ended.simulated.total_us - ended.go_us < 3_000_000
    assert [(f"{injection.verb} {injection.target}", injection.victim) for injection in ended.injections] == [
        ("pause r01", "r01"),
        ("resume r01", "r01"),
    ]
    assert [f"{done.verb} {done.target}" for done in ended.happened(FaultInjected)] == ["pause r01", "resume r01"]
    assert not ended.happened(InjectionFailed)
    times_us = [stamped.monotonic_us for stamped in ended.simulated.events if stamped.source == "r01"]
    assert not [us for us in times_us if ended.go_us + 50_000 < us < ended.go_us + 1_000_000]
    assert [us for us in times_us if us >= ended.go_us + 1_000_000]
    assert ended.deaths == []
    assert ended.broken() == {}


def test_a_second_pause_is_not_ended_by_the_end_of_the_first(tmp_path: Path) -> None:
    # Given a pause that was ended early, and another one before its own end
    ended = run(tmp_path, "pause r01 @100ms+1s", "resume r01 @200ms", "pause r01 @900ms+1s")

    ends_us = [
        stamped.monotonic_us - ended.go_us for stamped in ended.events(FaultInjected) if stamped.event.verb == "resume"
    ]
    assert ends_us == [200_000, 1_900_000]


def test_a_robot_that_is_not_paused_cannot_be_resumed(tmp_path: Path) -> None:
    # Given a robot whose pause was ended before, and one that died of its pause
    injections = ("pause r01 @0s+5s", "resume r01 @100ms", "resume r01 @200ms", "pause r02 @0s+4s", "resume r02 @3s")
    ended = run(tmp_path, *injections)

    failed = {f"{failed.verb} {failed.target}": failed.why for failed in ended.happened(InjectionFailed)}
    assert failed == {
        "resume r01": "no pause of r01 has begun",
        "resume r02": "it cannot be done to r02 now",
    }
    assert [f"{injection.verb} {injection.target}" for injection in ended.injections].count("resume r02") == 0
    assert ended.broken() == {"played": "an injection failed: resume r01 (no pause of r01 has begun)"}


def test_a_relay_that_is_resumed_lets_through_what_waited(tmp_path: Path) -> None:
    ended = run(tmp_path, "pause relay @0s+20s", "resume relay:0 @1s")

    first_us = min(stamped.monotonic_us for stamped in ended.events(PartsMerged))
    assert 1_000_000 <= first_us - ended.go_us < 1_200_000
    assert ended.broken() == {}


def test_a_server_that_is_paused_can_be_resumed_although_nothing_can_be_recorded(tmp_path: Path) -> None:
    # Given a server that would be away for long, and injections that wait for it
    ended = run(
        tmp_path,
        *("pause redis @100ms+20s", "pause r03 @200ms+20s", "resume r03 @300ms", "resume redis @1s"),
        for_="2s",
    )

    # Then it is back when it is resumed, and the others were done in their order
    assert [f"{injection.verb} {injection.target}" for injection in ended.injections] == [
        "pause redis",
        "resume redis",
        "pause r03",
        "resume r03",
    ]
    back_us = int(ended.injections[1].entry.partition("-")[0]) * 1000 - 946_684_800_000_000 - ended.go_us
    assert back_us == pytest.approx(1_000_000, abs=1_000)
    assert ended.broken() == {}


# Workers, contradictions and lost journals.


def test_the_workers_that_can_be_crashed_are_those_that_a_robot_has() -> None:
    source = Path(Life.run.__code__.co_filename).read_text()

    for worker in WORKERS:
        assert f'Child("{worker}"' in source


@pytest.mark.parametrize("worker", WORKERS)
def test_a_crashed_worker_is_restarted_alone_and_not_charged(tmp_path: Path, worker: str) -> None:
    # When a worker is crashed far more often than its budget allows
    ended = run(tmp_path, *LOSSY, f"crash r00/{worker} every 100ms", for_="3s")

    # Then each time that worker alone was restarted, and the robot lived on
    crashed = ended.happened(WorkerCrashed)
    assert len(crashed) >= 28  # one that waits for its restart cannot be crashed
    assert {crash.worker for crash in crashed} == {worker}
    assert all(crash.error.startswith("InjectedCrash") for crash in crashed)
    assert len(ended.happened(WorkerRestarted)) == len(crashed)
    assert all(restarted.delay_us <= 24_000 for restarted in ended.happened(WorkerRestarted))
    assert len(ended.events(RobotBorn)) == 6
    assert ended.broken() == {}
    assert_nothing_was_lost_nor_learnt_twice(ended)


@pytest.mark.parametrize(
    "way", ["pause relay:0 @1s+19s", "partition hold r00>r01 @1s+19s", "partition hold r01>r00 @1s+19s"]
)
def test_a_robot_is_not_guilty_of_what_does_not_come_to_it_or_from_it(tmp_path: Path, way: str) -> None:
    # Given a robot of which a worker crashes, and a way to it or from it that is closed for nearly the whole run
    ended = run(tmp_path, "crash r01/secret_merger @500ms", way, robots=2, relays=2, for_="20s")
    # Then nothing proves that it was asked and was silent
    assert ended.result.promises["supervised"].state == "HELD"


def test_an_old_crash_does_not_reach_a_later_life(tmp_path: Path) -> None:
    ended = run(tmp_path, "crash r00/inbox_reader @100ms", "kill r00 @200ms")

    assert [stamped.incarnation for stamped in ended.events(WorkerCrashed)] == [1]


def test_a_contradiction_is_refused_reported_and_counted(tmp_path: Path) -> None:
    ended = run(tmp_path, *LOSSY, "contradict r00 @200ms", "contradict r00 @400ms", robots=3)

    violations = ended.happened(InvariantViolated)
    assert [(each.sender, each.sender_incarnation, each.sequence) for each in violations] == [
        ("r01", NO_LIFE, 1),
        ("r01", NO_LIFE, 2),
    ]
    assert [crash.worker for crash in ended.happened(WorkerCrashed)] == ["secret_merger"] * 2
    assert ended.simulated.evidence.contradictions == {"r00": 2}
    assert ended.broken() == {}
    assert_nothing_was_lost_nor_learnt_twice(ended)


def test_a_robot_without_its_journal_is_not_born_again_and_the_verdict_is_unproven(tmp_path: Path) -> None:
    ended = run(tmp_path, *LOSSY, "amnesia r02 @200ms")

    assert [lost.stream for lost in ended.happened(EvidenceLost, "r02")] == ["journal"]
    assert len(ended.events(RobotBorn, "r02")) == 1
    assert ended.simulated.ended == "complete"
    assert ended.result.verdict == "UNPROVEN"
    assert "the journal of r02 was lost" in ended.broken().values()


# Relays and the server.


@pytest.mark.parametrize("fault", ["kill relay every 100ms", "restart relay every 100ms"])
def test_a_relay_that_takes_over_loses_and_invents_nothing(tmp_path: Path, fault: str) -> None:
    ended = run(tmp_path, *LOSSY, fault, for_="2s")

    resumed = ended.happened(RelayResumed)
    assert len(resumed) == 20
    assert any(each.pending for each in resumed), "some died with copies that were not acknowledged"
    assert ended.broken() == {}
    assert_nothing_was_lost_nor_learnt_twice(ended)


def test_a_relay_that_dies_at_the_very_end_leaves_nothing_undone(tmp_path: Path) -> None:
    ended = run(tmp_path, "delay 40ms", "kill relay @2s", for_="2s")

    numbers = [(event.source, event.incarnation, event.number) for event in ended.simulated.events]
    assert len(numbers) == len(set(numbers))
    assert ended.broken() == {}


def test_a_paused_relay_lets_nothing_through(tmp_path: Path) -> None:
    ended = run(tmp_path, "pause relay @0s+2s")

    assert min(stamped.monotonic_us for stamped in ended.events(PartsMerged)) >= ended.go_us + 2_000_000
    assert ended.broken() == {}


@pytest.mark.parametrize("fault", ["restart redis @100ms", "kill redis @100ms", "pause redis @100ms+1500ms"])
def test_an_outage_of_the_server_costs_time_and_nothing_else(tmp_path: Path, fault: str) -> None:
    ended = run(tmp_path, *LOSSY, fault, for_="2s")

    assert ended.simulated.ended == "complete"
    assert len(ended.events(RobotBorn)) == 6
    assert not ended.happened(WorkerCrashed)
    assert ended.broken() == {}
    assert_nothing_was_lost_nor_learnt_twice(ended)


def test_injections_wait_for_the_server_because_they_are_recorded_first(tmp_path: Path) -> None:
    # Given a robot that is to be killed while the server is away
    ended = run(tmp_path, "pause redis @100ms+1s", "kill r02 @500ms", "pause r03 @600ms+200ms")

    # Then it died when the server was back; a pause that was over by then never came
    assert [f"{injection.verb} {injection.target}" for injection in ended.injections] == [
        "pause redis",
        "resume redis",
        "kill r02",
    ]
    (death,) = ended.deaths
    assert int(death.entry.partition("-")[0]) * 1000 >= ended.go_us + 946_684_800_000_000 + 1_100_000
    assert ended.broken() == {
        "played": "'pause r03' was due 0.60 s after go, and was not injected: the server was away"
    }


# Again.


def test_a_recorded_run_is_repeated_with_the_very_processes_that_were_drawn(tmp_path: Path) -> None:
    chaos = ("kill robot every 200ms", "pause robot @300ms+400ms", "kill relay @900ms", "restart robot @1s every 300ms")
    ended = run(tmp_path, *LOSSY, *chaos, "pause r05 @1s+9s", "resume r05 @1500ms", for_="2s")

    experiment = prepare({"again": "latest", "runs_dir": tmp_path})
    repeated = simulate("ffffff", experiment.deal, experiment.terms, experiment.plan, experiment.bounds)

    again = [(row.entry, row.victim) for row in repeated.evidence.fleet]
    assert again == [(row.entry, row.victim) for row in ended.simulated.evidence.fleet]
    assert repeated.evidence.fates == ended.simulated.evidence.fates
    assert repeated.evidence.journals == ended.simulated.evidence.journals


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({"kill": ("r3@2s", "relay @1s")}, ["kill r03 @2s", "kill relay @1s"]),
        ({"kill": "r3; r4@1s every 2s", "for_": "9s"}, ["kill r03 @0s", "kill r04 @1s every 2s"]),
        ({"pause": ("r01@9s+5s",)}, ["pause r01 @9s+5s"]),
        ({"restart": ("redis@6s",)}, ["restart redis @6s"]),
        (
            {"chaos": ("kill robot; contradict r02 @1s", "loss 0.5 r03"), "copies": "6"},
            ["kill robot @0s", "contradict r02 @1s", "loss 0.5 r03"],
        ),
    ],
)
def test_shorthands_are_lines_of_the_plan(given: dict[str, object], lines: list[str]) -> None:
    experiment = prepare({"preset": "calm", **given})

    assert [planned.line.text() for planned in experiment.plan] == lines
    # and what is shown to be given again means the same
    shown = {name: getattr(experiment.settings, name) for name in given if name != "for_"}
    assert prepare({**given, "preset": "calm", **shown}).plan == experiment.plan
