"""How a robot merges what it gets: journalled first, published then, and learnt once."""

import asyncio

from robots.journal import Completed, PartKept
from robots.knowledge import from_bytes
from robots.messages import Summary, Update
from robots.secret import Part
from robots.supervision import GaveUp, RestartPolicy
from telemetry.events import InvariantViolated, PartsMerged, WorkerCrashed, WorkerGaveUp, WorkerRestarted
from tests.robots.robot_bench import ALL, PARTS, Bench, born, held, missing, on_the_bench


def test_what_is_published_was_journalled_before() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(PartsMerged))
        await asyncio.sleep(0.3)

        shown = [from_bytes(message.known) for _, message in bench.sent() if isinstance(message, Summary)]

        assert shown[-1] == ALL
        assert sorted(held(bench)) == list(range(len(PARTS)))
        kinds = [type(entry) for _, entry in bench.journal("r00")]
        assert kinds[-2:] == [PartKept, Completed], "complete is journalled with the part that made it so"

    on_the_bench(scenario)


def test_an_entry_is_acknowledged_only_after_the_journal_has_its_parts() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a journal that does not answer
        bench.give_birth("r00")
        await bench.eventually(born(bench))
        news = missing(bench)[:1]
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        journal = bench.ports[0].journal
        append = journal.append

        async def slow(incarnation: int, contents: list[bytes]) -> None:
            await gate
            await append(incarnation, contents)

        journal.append = slow

        # When parts come, the entry stays pending until it does
        bench.put("r00", "r01", Update(news))
        await asyncio.sleep(0.2)
        assert len(bench.server.inboxes["r00"].pending) == 1
        gate.set_result(None)
        await bench.eventually(lambda: not bench.server.inboxes["r00"].pending)
        assert news[0].index in held(bench)

    on_the_bench(scenario)


def test_a_contradiction_kills_and_restarts_the_merger_alone() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a robot that gossips
        await bench.begin("r00")
        mine = next(entry.part for _, entry in bench.journal("r00") if isinstance(entry, PartKept))
        before = bench.journal("r00")

        # When its inbox brings another word for a part that it was dealt, and honest parts after it
        sequence = bench.put("r00", "r01", Update((Part(mine.index, "forged ", mine.last),)))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(PartsMerged))

        # Then the message is named and dropped, one worker died and lives again, and nothing was overwritten
        (violation,) = bench.happened(InvariantViolated)
        assert (violation.invariant, violation.index, violation.sequence) == ("unique", mine.index, sequence)
        assert [crash.worker for crash in bench.happened(WorkerCrashed)] == ["secret_merger"]
        assert [restart.worker for restart in bench.happened(WorkerRestarted)] == ["secret_merger"]
        assert bench.journal("r00")[: len(before)] == before
        assert sorted(held(bench)) == list(range(len(PARTS))), "the channel kept what came meanwhile"
        await bench.eventually(lambda: not bench.server.inboxes["r00"].pending)

    on_the_bench(scenario)


def test_too_many_crashes_are_escalated_to_the_robot() -> None:
    async def scenario(bench: Bench) -> None:
        life = bench.give_birth("r00", RestartPolicy(max_restarts=2))
        await bench.eventually(born(bench))
        mine = next(entry.part for _, entry in bench.journal("r00") if isinstance(entry, PartKept))

        for _ in range(5):
            bench.put("r00", "r01", Update((Part(mine.index, "forged ", mine.last),)))
        await bench.eventually(life.done)

        assert isinstance(life.exception(), GaveUp)
        assert len(bench.happened(WorkerRestarted)) == 2
        assert bench.happened(WorkerGaveUp) == [WorkerGaveUp("secret_merger", 3)]

    on_the_bench(scenario)
