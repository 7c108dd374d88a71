"""Channels: they outlive a crash, wake who waits, and drop or wait when they are full."""

import asyncio

from robots.channel import Channel, Watch
from robots.simulation.virtual_time import VirtualClock, run_virtually


def test_a_full_channel_drops_what_is_offered_and_counts_it() -> None:
    async def main(_clock: VirtualClock) -> None:
        drops: list[tuple[str, int]] = []
        channel: Channel[int] = Channel("small", lambda name, dropped: drops.append((name, dropped)), capacity=2)

        assert [channel.offer(item) for item in range(4)] == [True, True, False, False]
        assert drops == [("small", 1), ("small", 2)]
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


def test_a_reader_waits_no_longer_than_its_timeout() -> None:
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
