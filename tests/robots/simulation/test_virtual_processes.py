"""Processes in virtual time: stopped, they wait; killed, they do nothing any more, and nothing is kept of them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest

from robots.simulation.simulate import digest_of
from robots.simulation.virtual_time import Process, VirtualClock, run_virtually
from tests.robots.simulation.judged_runs import LOSSY, run

STORM = ("kill robot every 150ms", "kill relay every 700ms", "pause robot @300ms+700ms", "pause robot @500ms+4s")
CRASHES = ("crash r01/secret_merger every 200ms", "crash r02/inbox_reader every 130ms", "restart redis @1s")


class Belongings:
    """What a process holds in memory."""


def test_a_stopped_process_waits_and_then_does_it_all() -> None:
    async def story(_clock: VirtualClock) -> None:
        # Given a process that does something every 10 ms
        done: list[int] = []
        process = Process()
        process.start(_work(done))
        await asyncio.sleep(0.035)
        # When it is stopped, then it does nothing until it is continued
        process.stop()
        before = len(done)
        await asyncio.sleep(1)
        assert len(done) == before > 0
        process.resume()
        await asyncio.sleep(0.025)
        assert len(done) > before

    run_virtually(story)


@pytest.mark.parametrize("is_stopped_first", [False, True])
def test_a_killed_process_does_nothing_more_and_is_closed(is_stopped_first: bool) -> None:
    async def story(_clock: VirtualClock) -> None:
        # Given a process of two tasks, one begun by the other, that clean up and want to wait for something then
        done, kept = list[int](), list[weakref.ref[Belongings]]()

        async def child() -> None:
            belongings = Belongings()
            kept.append(weakref.ref(belongings))
            try:
                await _work(done)
            finally:
                await asyncio.sleep(0.01)
                done.append(len(kept))

        async def parent() -> None:
            task = asyncio.get_running_loop().create_task(child())
            try:
                await task
            finally:
                task.cancel()
                while not task.done():
                    await asyncio.sleep(0.01)
                done.append(len(kept))

        process = Process()
        process.start(parent())
        await asyncio.sleep(0.035)
        # When it is killed, be it while it stands still
        if is_stopped_first:
            process.stop()
            await asyncio.sleep(0.1)
        process.kill()
        before = len(done)
        # Then nothing of it is kept, long before the simulation ends, and nothing more comes of it
        gc.collect()
        assert [reference() for reference in kept] == [None]
        await asyncio.sleep(1)
        process.resume()
        await asyncio.sleep(1)
        assert len(done) == before > 0

    run_virtually(story)


@pytest.mark.parametrize("seed", range(4))
def test_what_the_killed_clean_up_changes_no_history(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a storm in which processes that are killed are let go of
    judged = run(tmp_path, *LOSSY, *STORM, *CRASHES, seed=seed, for_="4s", limit="12s")
    # When they only stand still for ever instead, and clean up nothing
    monkeypatch.setattr(Process, "kill", Process.stop)
    silent = run(tmp_path, *LOSSY, *STORM, *CRASHES, seed=seed, for_="4s", limit="12s")
    # Then it is the same history
    assert len(judged.deaths) > 20
    assert digest_of(judged.simulated) == digest_of(silent.simulated)


async def _work(done: list[int]) -> None:
    while True:
        done.append(len(done))
        await asyncio.sleep(0.01)
