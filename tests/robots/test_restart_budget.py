"""A robot's lives: which deaths it answers for, and what that means for its next birth. Given / When / Then."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from broker.memory.run_control import MemoryFleetLog
from broker.ports.robot import Death, FleetRow, Injection
from robots.restart_budget import FENCED, BudgetSpent, charged, down_us, may_be_born
from robots.simulation.virtual_time import VirtualClock, run_virtually
from robots.supervision import GiveUp, RestartAfter, RestartPolicy
from telemetry.events import RobotBorn, RobotRecovered, WorkerGaveUp
from tests.robots.robot_bench import Bench

POLICY = RestartPolicy(
    max_restarts=2, window_us=10_000_000, first_delay_us=100_000, longest_delay_us=1_000_000, jitter=0
)


def injection(ms: int, text: str, victim: str) -> Injection:
    return Injection(f"{ms}-0", *text.split(" ", 1), victim)


def death(
    ms: int, victim: str, robot: str = "r03", incarnation: int = 1, how: str = "signal", status: int = -9
) -> Death:
    return Death(f"{ms}-0", victim, robot, incarnation, how, status)


@pytest.mark.parametrize("victim", ["r03", "rq:r03"])
@pytest.mark.parametrize("how", ["exit", "signal", "silent", "lease"])
def test_a_death_of_a_robot_or_its_rq_worker_is_charged_to_it(victim: str, how: str) -> None:
    rows: list[FleetRow] = [death(5, victim, how=how, status=1)]
    assert charged(rows, "r03") == [5_000]
    assert charged(rows, "r04") == []


def test_a_death_of_another_process_is_not_charged() -> None:
    rows: list[FleetRow] = [death(5, "relay:0", robot=""), death(6, "rq:w01", robot=""), death(7, "redis", robot="")]
    assert charged(rows, "r03") == []


def test_a_process_that_found_a_later_life_is_no_death() -> None:
    rows: list[FleetRow] = [death(5, "rq:r03", how="exit", status=FENCED)]
    assert charged(rows, "r03") == []
    assert down_us(rows, "r03", 1, 9_000) is None


@pytest.mark.parametrize("text", ["kill robot", "kill r03", "restart rq:r03", "pause r03 @1s+5s", "amnesia r03"])
@pytest.mark.parametrize(("aim", "victim"), [("r03", "r03"), ("rq:r03", "rq:r03"), ("rq:r03", "r03"), ("redis", "r03")])
def test_an_injection_excuses_one_death_after_it(text: str, aim: str, victim: str) -> None:
    # Given an injection, and two deaths after it
    rows: list[FleetRow] = [injection(1, text, aim), death(5, victim), death(8, victim)]
    # Then the second is charged
    assert charged(rows, "r03") == [8_000]


@pytest.mark.parametrize(
    "row",
    [
        injection(1, "kill robot", "r04"),  # done to another
        injection(6, "kill robot", "r03"),  # done afterwards
        injection(1, "crash r03/secret_merger", "r03/secret_merger"),  # kills no process
        injection(1, "resume r03", "r03"),
        injection(1, "contradict r03", "r03"),
        injection(1, "kill relay", "relay:0"),
    ],
)
def test_other_injections_excuse_nothing(row: Injection) -> None:
    assert charged(sorted([row, death(5, "r03")], key=lambda row: row.entry), "r03") == [5_000]


@pytest.mark.parametrize("aim", ["r03", "rq:r03"])
def test_a_restart_in_order_excuses_no_death_long_after_it(aim: str) -> None:
    # Given a restart, which as a rule causes no death, and a death
    restart = injection(1_000, "restart robot", aim)
    # Then it excuses it for 5 s
    assert charged([restart, death(6_000, "r03")], "r03") == []
    assert charged([restart, death(6_001, "r03")], "r03") == [6_001_000]
    # and afterwards takes the place of no other injection
    kill = injection(9_000, "kill r03", aim)
    assert charged([restart, kill, death(9_500, "r03"), death(9_600, "r03")], "r03") == [9_600_000]


def test_a_restart_of_the_server_excuses_one_death_of_each_robot_however_late() -> None:
    assert charged([injection(1_000, "restart redis", "redis"), death(99_000, "r03")], "r03") == []


def test_an_injection_into_a_robot_does_not_excuse_its_rq_worker() -> None:
    assert charged([injection(1, "kill r03", "r03"), death(5, "rq:r03")], "r03") == [5_000]


def test_the_injection_into_the_victim_itself_is_used_up_first() -> None:
    # Given an injection into the server, one into the robot, and a death of the robot
    rows: list[FleetRow] = [injection(1, "restart redis", "redis"), injection(2, "kill r03", "r03"), death(5, "r03")]
    # Then that to the server still excuses another death, of its RQ worker too
    assert charged([*rows, death(8, "rq:r03")], "r03") == []


def test_who_never_died_may_be_born_at_once() -> None:
    assert may_be_born([], "r03", POLICY, 0, Random(1)) is None


def test_a_birth_waits_for_the_rest_of_the_delay() -> None:
    # Given a death at 5.0 s, for which the policy wants 100 ms
    rows: list[FleetRow] = [death(5_000, "r03")]
    # Then a birth waits until then, and no longer than that if this host's clock is behind
    assert may_be_born(rows, "r03", POLICY, 5_030_000, Random(1)) == RestartAfter(1, 70_000)
    assert may_be_born(rows, "r03", POLICY, 5_100_000, Random(1)) is None
    assert may_be_born(rows, "r03", POLICY, 1_000_000, Random(1)) == RestartAfter(1, 100_000)


def test_too_many_charged_deaths_in_the_window_are_the_end() -> None:
    rows: list[FleetRow] = [death(ms, "r03") for ms in (5_000, 6_000, 7_000)]
    assert may_be_born(rows, "r03", POLICY, 8_000_000, Random(1)) == GiveUp(3)
    # and it stays so, however late it is decided again
    assert may_be_born(rows, "r03", POLICY, 99_000_000, Random(1)) == GiveUp(3)


def test_deaths_outside_the_window_and_excused_ones_do_not_count() -> None:
    rows: list[FleetRow] = [death(1_000, "r03"), injection(1_500, "kill r03", "r03"), death(2_000, "r03")]
    rows += [death(12_000, "r03"), death(13_000, "r03")]
    assert may_be_born(rows, "r03", POLICY, 13_000_000, Random(1)) == RestartAfter(2, 200_000)


def test_how_long_a_robot_was_dead() -> None:
    rows: list[FleetRow] = [death(5_000, "r03", incarnation=2)]
    assert down_us(rows, "r03", 2, 5_250_000) == 250_000
    assert down_us(rows, "r03", 2, 4_000_000) == 0  # this host's clock is behind
    assert down_us(rows, "r03", 3, 5_250_000) is None  # life 3 handed its job back in order
    assert down_us([death(5_000, "r03", incarnation=0)], "r03", 0, 5_250_000) is None


# A whole life.


def test_a_new_life_follows_the_policy_before_it_is_born() -> None:
    async def story(clock: VirtualClock) -> None:
        # Given a robot that died twice without anybody's doing
        bench = Bench(clock, "one two")
        log = MemoryFleetLog(bench.server)
        for _ in range(2):
            log.death("r00", "r00", 0, "exit", 1)
        # When the next life begins, then it is born after the policy's delay
        began_us = clock.monotonic_us()
        bench.give_birth("r00", POLICY)
        await bench.eventually(lambda: bench.happened(RobotBorn))
        assert clock.monotonic_us() - began_us == pytest.approx(200_000, abs=10_000)
        await bench.end()

    run_virtually(story)


def test_a_robot_whose_budget_is_spent_is_never_born() -> None:
    async def story(clock: VirtualClock) -> None:
        # Given a robot that died three times within the window
        bench = Bench(clock, "one two")
        log = MemoryFleetLog(bench.server)
        for _ in range(3):
            log.death("r00", "r00", 0, "exit", 1)
        # When it is to live again
        with pytest.raises(BudgetSpent):
            await bench.give_birth("r00", POLICY)
        # Then it is refused, and its journal holds nothing of it
        assert bench.happened(WorkerGaveUp) == [WorkerGaveUp("r00", 3)]
        assert {incarnation for incarnation, _ in bench.journal("r00")} == {0}

    run_virtually(story)


def test_a_life_after_a_death_reports_for_how_long_the_robot_was_dead() -> None:
    async def story(clock: VirtualClock) -> None:
        # Given a robot that was killed on purpose
        bench = Bench(clock, "one two")
        life = bench.give_birth("r00")
        await bench.eventually(lambda: bench.happened(RobotBorn))
        life.cancel()
        log = MemoryFleetLog(bench.server)
        log.injection("kill", "r00", "r00")
        log.death("r00", "r00", 1, "signal", -9)
        # When it lives again 300 ms later
        await asyncio.sleep(0.3)
        bench.lives.clear()
        bench.give_birth("r00")
        await bench.eventually(lambda: len(bench.happened(RobotBorn)) == 2)
        # Then an event reports it
        [recovered] = bench.happened(RobotRecovered)
        assert recovered.down_us == pytest.approx(300_000, abs=5_000)
        await bench.end()

    run_virtually(story)
