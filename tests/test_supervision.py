"""The restart policy, the supervisor that obeys it, and the channels that outlive a crash."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robots.channel import Channel, Watch
from robots.simulation.virtual_time import NothingToDo, VirtualClock, run_virtually
from robots.supervision import Child, GaveUp, GiveUp, Restart, RestartPolicy, Supervisor
from telemetry.events import AnyEvent, WorkerCrashed, WorkerGaveUp, WorkerRestarted

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

    assert isinstance(policy.decide([0, 1], 1, 0.5), Restart)
    assert policy.decide([0, 1, 2], 2, 0.5) == GiveUp(3)
    assert isinstance(policy.decide([0, 1, 11 * SECOND], 11 * SECOND, 0.5), Restart), "the old ones are forgiven"


@given(st.lists(st.integers(0, 60 * SECOND), min_size=1, max_size=40), st.floats(0, 0.999))
def test_a_restart_is_never_ordered_above_the_budget(crashes: list[int], chance: float) -> None:
    policy = RestartPolicy()
    now = max(crashes)
    recent = sum(now - crash < policy.window_us for crash in crashes)

    decision = policy.decide(sorted(crashes), now, chance)

    assert isinstance(decision, GiveUp) is (recent > policy.max_restarts)


# The supervisor.


class Stage:
    """A supervisor with children that fail when they are told to."""

    def __init__(self, clock: VirtualClock, names: list[str], fatal: tuple[type[Exception], ...] = ()) -> None:
        self.events: list[AnyEvent] = []
        self.starts: dict[str, int] = dict.fromkeys(names, 0)
        self.orders: dict[str, Channel[BaseException | None]] = {name: Channel(name, lambda *_: None) for name in names}
        children = [Child(name, lambda name=name: self.child(name)) for name in names]
        self.supervisor = Supervisor(
            children, RestartPolicy(max_restarts=3), clock, Random(1), self.events.append, fatal
        )

    async def child(self, name: str) -> None:
        self.starts[name] += 1
        while True:
            order = await self.orders[name].get()
            if order is None:
                return
            raise order

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


def test_a_child_that_ends_cancelled_by_nobody_has_crashed() -> None:
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


def test_a_child_that_swallows_a_cancellation_is_cancelled_again() -> None:
    async def main(clock: VirtualClock) -> None:
        async def stubborn() -> None:
            for _ in range(3):
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    continue
            await asyncio.sleep(3600)

        supervisor = Supervisor([Child("a", stubborn)], RestartPolicy(), clock, Random(1), lambda _: None)
        running = asyncio.ensure_future(supervisor.run())
        await asyncio.sleep(1)
        supervisor.stop()
        await running
        assert clock.monotonic_us() < 2 * SECOND

    run_virtually(main)


# Channels.


def test_a_full_channel_drops_what_is_offered_and_counts_it() -> None:
    async def main(_clock: VirtualClock) -> None:
        told: list[tuple[str, int]] = []
        channel: Channel[int] = Channel("small", lambda name, dropped: told.append((name, dropped)), capacity=2)

        assert [channel.offer(item) for item in range(4)] == [True, True, False, False]
        assert told == [("small", 1), ("small", 2)]
        assert [await channel.get(), await channel.get()] == [0, 1], "what was in it is untouched"

    run_virtually(main)


def test_a_writer_that_must_not_lose_waits_for_room() -> None:
    async def main(_clock: VirtualClock) -> None:
        channel: Channel[int] = Channel("small", lambda *_: None, capacity=1)

        async def write() -> None:
            for item in range(5):
                await channel.put(item)

        writing = asyncio.ensure_future(write())
        assert [await channel.get() for _ in range(5)] == list(range(5))
        await writing
        assert channel.dropped == 0

    run_virtually(main)


def test_a_writer_that_gave_up_does_not_take_anothers_call_with_it() -> None:
    async def main(_clock: VirtualClock) -> None:
        channel: Channel[int] = Channel("small", lambda *_: None, capacity=1)
        await channel.put(0)
        impatient = asyncio.ensure_future(channel.put(1))
        patient = asyncio.ensure_future(channel.put(2))
        await asyncio.sleep(0.1)
        impatient.cancel()
        await asyncio.sleep(0.1)

        assert [await channel.get(), await channel.get()] == [0, 2]
        await patient

    run_virtually(main)


def test_what_is_in_a_channel_outlives_its_reader() -> None:
    async def main(_clock: VirtualClock) -> None:
        channel: Channel[int] = Channel("c", lambda *_: None)
        reader = asyncio.ensure_future(channel.get())
        await asyncio.sleep(0.1)
        reader.cancel()
        await asyncio.sleep(0.1)
        channel.offer(1)
        channel.offer(2)

        assert [await channel.get(), await channel.get()] == [1, 2]

    run_virtually(main)


def test_a_reader_waits_no_longer_than_it_said() -> None:
    async def main(clock: VirtualClock) -> None:
        channel: Channel[int] = Channel("c", lambda *_: None)

        assert await channel.get_within(250_000) is None
        assert clock.monotonic_us() == 250_000
        asyncio.get_running_loop().call_later(0.1, channel.offer, 7)
        assert await channel.get_within(250_000) == 7
        assert clock.monotonic_us() == 350_000

    run_virtually(main)


def test_of_a_watched_value_only_the_latest_counts() -> None:
    async def main(_clock: VirtualClock) -> None:
        watch = Watch(0)
        waiting = asyncio.ensure_future(watch.until(lambda value: value >= 2))
        await asyncio.sleep(0)
        watch.set(1)
        watch.set(5)
        assert await waiting == 5

    run_virtually(main)


# Virtual time.


def test_equal_deadlines_come_in_the_order_in_which_they_were_set() -> None:
    async def main(_clock: VirtualClock) -> list[int]:
        order: list[int] = []
        loop = asyncio.get_running_loop()
        for number in range(100):
            loop.call_later(1.0, order.append, number)
        await asyncio.sleep(2)
        return order

    assert run_virtually(main) == list(range(100))


def test_a_day_passes_in_no_time_and_waiting_for_nothing_is_reported() -> None:
    async def sleeper(clock: VirtualClock) -> int:
        await asyncio.sleep(24 * 3600)
        return clock.monotonic_us()

    async def stuck(_clock: VirtualClock) -> None:
        await asyncio.get_running_loop().create_future()

    assert run_virtually(sleeper) == 24 * 3600 * SECOND
    with pytest.raises(NothingToDo):
        run_virtually(stuck)
