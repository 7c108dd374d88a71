"""How a robot's life ends: passive, stopped or recalled; and lives that begin late."""

import asyncio

import pytest

from broker.memory.run_control import MemoryFleetLog
from robots.messages import Answer, Summary, Update
from robots.secret import Part
from robots.supervision import RestartPolicy
from telemetry.events import MessageReceived, PartsMerged, RobotLeft, RobotPassive, WorkerCrashed
from tests.robots.robot_bench import ALL, Bench, held, missing, on_the_bench


def test_a_robot_falls_passive_only_when_its_dealt_parts_are_safe() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a complete robot whose peer answers, and lacks r00's own parts whatever it receives
        await bench.begin("r00")
        mine = sum(1 << index for index in held(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        for _ in range(200):
            for envelope, message in bench.sent():
                if isinstance(message, Summary):
                    answer = Answer(want=mine.to_bytes(1, "little"), attempt=message.attempt)
                    bench.put("r00", "r01", answer, exchange=envelope.exchange)
            await asyncio.sleep(0.01)
        assert not bench.happened(RobotPassive)

        # When the peer shows to hold them, it asks no more than once in ten ticks
        bench.put("r00", "r01", Summary(ALL.to_bytes(1, "little")))
        await bench.eventually(lambda: bench.happened(RobotPassive))
        bench.sent()
        await asyncio.sleep(3)
        summaries = {e.exchange for e, m in bench.sent() if isinstance(m, Summary)}
        assert 2 <= len(summaries) <= 5

    on_the_bench(scenario)


def test_the_order_stop_ends_a_life_in_order() -> None:
    async def scenario(bench: Bench) -> None:
        life = bench.give_birth("r00")
        bench.run_control.order("go")
        await asyncio.sleep(1)
        bench.run_control.order("stop", b"limit")

        assert await life == "limit"
        assert bench.happened(RobotLeft) == [RobotLeft("limit")]

    on_the_bench(scenario)


async def begin_with_unacknowledged_parts(bench: Bench, answer_s: float) -> tuple[Part, ...]:
    """A life of r00 whose journal takes so long to answer, and which has just got two of the parts that it lacks, one
    by one; all that it lacked."""
    await bench.begin("r00")
    journal = bench.ports[0].journal
    append = journal.append

    async def slow(incarnation: int, contents: list[bytes]) -> None:
        await asyncio.sleep(answer_s)
        await append(incarnation, contents)

    journal.append = slow
    news = missing(bench)
    bench.put("r00", "r01", Update(news[:1]))
    bench.put("r00", "r01", Update(news[1:2]))
    await bench.eventually(lambda: len(bench.happened(MessageReceived)) == 2)
    return news


def test_a_recalled_life_takes_nothing_new_finishes_what_it_merges_and_leaves() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a life that merges parts, for which its journal takes 100 ms each time
        news = await begin_with_unacknowledged_parts(bench, answer_s=0.1)
        recalled_us = bench.clock.monotonic_us()

        # When it is recalled, and other parts come afterwards
        bench.recall()
        await asyncio.sleep(0.01)
        bench.put("r00", "r01", Update(news[2:]))

        # Then what it had is journalled, reported and acknowledged, and it left within a moment
        assert await bench.lives[-1] == "recalled"
        assert {part.index for part in news[:2]} <= set(held(bench))
        assert len(bench.happened(PartsMerged)) == 2
        assert bench.happened(RobotLeft) == [RobotLeft("recalled")]
        assert not bench.happened(WorkerCrashed)
        assert bench.clock.monotonic_us() - recalled_us < 250_000
        assert not bench.server.inboxes["r00"].pending

        # And what came afterwards waits for the next life
        assert len(bench.server.inboxes["r00"].fresh) == 1
        bench.give_birth("r00")
        await bench.eventually(lambda: not missing(bench))

    on_the_bench(scenario)


def test_a_recalled_life_waits_for_a_server_that_is_away_but_not_for_long() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a life with unacknowledged parts, and a server that goes away
        news = await begin_with_unacknowledged_parts(bench, answer_s=0.05)
        bench.server.is_away = True
        bench.put("r00", "r01", Update(news[2:]))
        recalled_us = bench.clock.monotonic_us()

        # When it is recalled, then it leaves in order all the same
        bench.recall()
        assert await bench.lives[-1] == "recalled"
        assert 400_000 < bench.clock.monotonic_us() - recalled_us < 600_000
        assert bench.happened(RobotLeft) == [RobotLeft("recalled")]

        # And when the server is back, the next life gets what this one could not deal with
        bench.server.is_away = False
        bench.give_birth("r00")
        await bench.eventually(lambda: not missing(bench))

    on_the_bench(scenario)


@pytest.mark.parametrize("after_s", [0.05, 0.5])
def test_a_recalled_life_that_receives_the_order_stop_meanwhile_is_over_for_good(after_s: float) -> None:
    async def scenario(bench: Bench) -> None:
        # Given a life that is recalled, and needs longer than it has
        await begin_with_unacknowledged_parts(bench, answer_s=1)
        bench.recall()
        # When the order stop comes, at the latest in the very moment in which it would leave, then that counts
        asyncio.get_running_loop().call_later(after_s, bench.run_control.order, "stop", b"limit")

        assert await bench.lives[-1] == "limit"
        assert bench.happened(RobotLeft) == [RobotLeft("limit")]

    on_the_bench(scenario)


def test_who_is_recalled_before_its_birth_is_not_born() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a robot that has to wait before it may be born again
        MemoryFleetLog(bench.server).death("r00", "r00", 0, "exit", 1)
        life = bench.give_birth("r00", RestartPolicy(first_delay_us=300_000))
        await asyncio.sleep(0.1)

        # When it is recalled meanwhile, then no life of it was claimed
        bench.recall()
        assert await life == "recalled"
        assert bench.events == []
        assert {incarnation for incarnation, _ in bench.journal("r00")} == {0}

    on_the_bench(scenario)


@pytest.mark.parametrize("late", [False, True])
def test_a_late_life_starts_at_once(late: bool) -> None:
    async def scenario(bench: Bench) -> None:
        bench.run_control.order("go")
        if late:
            await asyncio.sleep(10)
        bench.give_birth("r00")
        summaries: list[object] = []
        await bench.eventually(lambda: summaries.extend(bench.sent()) or summaries, within_s=0.3)

    on_the_bench(scenario)
