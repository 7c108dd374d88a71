"""The restart policy, and the supervisor that applies it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robots.channel import Channel
from robots.env import Env
from robots.simulation.virtual_time import VirtualClock, run_virtually
from robots.supervision import Child, GaveUp, GiveUp, RestartAfter, RestartPolicy, Supervisor
from telemetry.events import AnyEvent, WorkerCrashed, WorkerGaveUp, WorkerLeft, WorkerRestarted, WorkerStarted

SECOND = 1_000_000


# The policy.


def test_delays_double_up_to_the_longest_and_jitter_stays_within_its_share() -> None:
    policy = RestartPolicy(max_restarts=10, first_delay_us=100, longest_delay_us=450, jitter=0.2)

    delays = [policy.decide([0] * crashes, 0, 0.5).delay_us for crashes in range(1, 6)]

    assert delays == [100, 200, 400, 450, 450]
    assert policy.decide([0], 0, 0.0).delay_us == 80
    assert policy.decide([0], 0, 0.999999).delay_us == 120


def test_the_budget_counts_only_the_window() -> None:
    policy = RestartPolicy(max_restarts=2, window_us=10 * SECOND)

    assert isinstance(policy.decide([0, 1], 1, 0.5), RestartAfter)
    assert policy.decide([0, 1, 2], 2, 0.5) == GiveUp(3)
    assert isinstance(policy.decide([0, 1, 11 * SECOND], 11 * SECOND, 0.5), RestartAfter), "the old ones are forgiven"


@given(st.lists(st.integers(0, 60 * SECOND), min_size=1, max_size=40), st.floats(0, 0.999))
def test_a_restart_is_never_ordered_above_the_budget(crashes: list[int], chance: float) -> None:
    policy = RestartPolicy()
    now = max(crashes)
    recent = sum(now - crash < policy.window_us for crash in crashes)

    decision = policy.decide(sorted(crashes), now, chance)

    assert isinstance(decision, GiveUp) is (recent > policy.max_restarts)


# The supervisor.


class Stage:
    """A supervisor with children that fail when they are ordered to."""

    def __init__(self, clock: VirtualClock, names: list[str], fatal: tuple[type[Exception], ...] = ()) -> None:
        self.events: list[AnyEvent] = []
        self.starts: dict[str, int] = dict.fromkeys(names, 0)
        self.orders: dict[str, Channel[BaseException | None]] = {name: Channel(name, lambda *_: None) for name in names}
        children = [Child(name, lambda name=name: self.child(name)) for name in names]
        self.supervisor = Supervisor(
            children, RestartPolicy(max_restarts=3), Env(clock, Random(1), self.events.append), fatal
        )

    async def child(self, name: str) -> None:
        self.starts[name] += 1
        while True:
            order = await self.orders[name].get()
            if order is None:
                return
            raise order

    def shown(self) -> list[AnyEvent]:
        return [event for event in self.events if isinstance(event, WorkerStarted | WorkerLeft)]

    def count(self, kind: type[AnyEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


def test_a_crash_restarts_its_child_and_touches_no_sibling() -> None:
    async def main(clock: VirtualClock) -> Stage:
        stage = Stage(clock, ["a", "b", "c"])
        running = asyncio.ensure_future(stage.supervisor.run())
        stage.orders["b"].offer(ValueError("oh"))
        await asyncio.sleep(1)
        stage.supervisor.stop()
        await running
        return stage

    stage = run_virtually(main)

    assert stage.starts == {"a": 1, "b": 2, "c": 1}
    assert WorkerCrashed("b", "ValueError: oh") in stage.events
    assert stage.count(WorkerRestarted) == 1
    # And each child shows itself that it runs again, and that it was there at the end
    assert stage.shown() == [WorkerStarted("b"), WorkerLeft("a"), WorkerLeft("b"), WorkerLeft("c")]


def test_a_child_that_is_retired_ends_without_a_crash_and_never_starts_again() -> None:
    async def main(clock: VirtualClock) -> Stage:
        stage = Stage(clock, ["a", "b", "c"])
        running = asyncio.ensure_future(stage.supervisor.run())
        # Given one child that runs, and one that waits to be restarted
        stage.orders["b"].offer(ValueError("oh"))
        await asyncio.sleep(0.001)
        # When both are retired
        assert not stage.supervisor.retire("a")
        assert stage.supervisor.retire("b")
        await asyncio.sleep(1)
        # Then they have ended, and their sibling has not
        assert stage.supervisor.retire("a")
        assert not stage.supervisor.retire("c")
        stage.supervisor.stop()
        await running
        return stage

    stage = run_virtually(main)

    assert stage.starts == {"a": 1, "b": 1, "c": 1}
    assert stage.count(WorkerCrashed) == 1
    assert stage.shown() == [WorkerLeft("a"), WorkerLeft("c")]


@pytest.mark.parametrize("end", [lambda supervisor: supervisor.retire("a"), lambda supervisor: supervisor.stop()])
def test_a_crash_just_before_the_end_is_reported_and_followed_by_nothing(end: Callable[[Supervisor], object]) -> None:
    async def main(clock: VirtualClock) -> Stage:
        stage = Stage(clock, ["a", "b"])
        running = asyncio.ensure_future(stage.supervisor.run())
        await asyncio.sleep(0.001)
        # Given a child that has crashed, of which its supervisor has not heard yet
        stage.supervisor.crash("a")
        await asyncio.sleep(0)
        # When it is to end
        end(stage.supervisor)
        await asyncio.sleep(1)
        stage.supervisor.stop()
        await running
        return stage

    stage = run_virtually(main)

    # Then its crash is known, and it did not leave in order
    assert stage.events == [WorkerCrashed("a", "InjectedCrash: injected"), WorkerLeft("b")]


def test_a_worker_that_returns_has_crashed() -> None:
    async def main(clock: VirtualClock) -> Stage:
        stage = Stage(clock, ["a"])
        running = asyncio.ensure_future(stage.supervisor.run())
        stage.orders["a"].offer(None)
        await asyncio.sleep(1)
        stage.supervisor.stop()
        await running
        return stage

    assert run_virtually(main).starts == {"a": 2}


def test_a_child_that_ends_cancelled_by_no_supervisor_has_crashed() -> None:
    async def main(clock: VirtualClock) -> Stage:
        stage = Stage(clock, ["a"])
        running = asyncio.ensure_future(stage.supervisor.run())
        stage.orders["a"].offer(asyncio.CancelledError())
        await asyncio.sleep(1)
        stage.supervisor.stop()
        await running
        return stage

    stage = run_virtually(main)

    assert stage.starts == {"a": 2}
    assert stage.count(WorkerCrashed) == 1


def test_a_spent_budget_is_escalated_and_ends_all() -> None:
    async def main(clock: VirtualClock) -> Stage:
        stage = Stage(clock, ["a", "b"])
        for _ in range(4):
            stage.orders["a"].offer(ValueError("again"))
        with pytest.raises(GaveUp, match="a") as caught:
            await stage.supervisor.run()
        assert isinstance(caught.value.__cause__, ValueError)
        return stage

    stage = run_virtually(main)

    assert stage.starts == {"a": 4, "b": 1}
    assert WorkerGaveUp("a", 4) in stage.events


def test_a_fatal_error_is_no_crash() -> None:
    class Fatal(Exception):
        pass

    async def main(clock: VirtualClock) -> Stage:
        stage = Stage(clock, ["a", "b"], fatal=(Fatal,))
        stage.orders["a"].offer(Fatal())
        with pytest.raises(Fatal):
            await stage.supervisor.run()
        return stage

    assert run_virtually(main).events == []


def test_a_child_that_swallows_a_cancellation_crashes_all_the_same() -> None:
    async def main(clock: VirtualClock) -> list[AnyEvent]:
        events: list[AnyEvent] = []

        async def stubborn() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            await asyncio.sleep(3600)

        supervisor = Supervisor([Child("a", stubborn)], RestartPolicy(), Env(clock, Random(1), events.append))
        running = asyncio.ensure_future(supervisor.run())
        await asyncio.sleep(1)
        # When it is made to crash
        assert supervisor.crash("a")
        await asyncio.sleep(1)
        supervisor.stop()
        await running
        return events

    # Then it crashed once, and was restarted
    events = run_virtually(main)
    assert [type(event) for event in events] == [WorkerCrashed, WorkerRestarted, WorkerStarted, WorkerLeft]


def test_a_child_that_swallows_a_cancellation_is_cancelled_again() -> None:
    async def main(clock: VirtualClock) -> None:
        async def stubborn() -> None:
            for _ in range(3):
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    continue
            await asyncio.sleep(3600)

        supervisor = Supervisor([Child("a", stubborn)], RestartPolicy(), Env(clock, Random(1), lambda _: None))
        running = asyncio.ensure_future(supervisor.run())
        await asyncio.sleep(1)
        supervisor.stop()
        await running
        assert clock.monotonic_us() < 2 * SECOND

    run_virtually(main)
