"""Virtual time: deadlines come in order, a day passes in no time, and waiting for nothing is reported."""

import asyncio

import pytest

from robots.simulation.virtual_time import NothingToDo, VirtualClock, run_virtually

SECOND = 1_000_000


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
