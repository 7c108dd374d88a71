"""Exchanges: what each side lacks, retransmissions without an answer, and fewer of them once passive."""

import asyncio

from robots.knowledge import from_bytes
from robots.messages import Answer, Summary, Update
from telemetry.events import ExchangeFailed
from tests.robots.robot_bench import Bench, be_an_equal_peer, born, held, on_the_bench


def test_every_summary_is_answered_with_exactly_what_its_sender_lacks() -> None:
    async def scenario(bench: Bench) -> None:
        bench.give_birth("r00")
        await bench.eventually(born(bench))
        mine = sorted(held(bench))
        bench.sent()
        shown = 1 << mine[0]

        bench.put("r00", "r01", Summary(shown.to_bytes(1, "little")))
        answers: list[Answer] = []
        await bench.eventually(lambda: answers.extend(m for _, m in bench.sent() if isinstance(m, Answer)) or answers)

        assert sorted(part.index for part in answers[0].parts) == mine[1:], "never the full state"
        assert from_bytes(answers[0].want) == 0
        assert not answers[0].equal

    on_the_bench(scenario)


def test_an_unanswered_summary_is_sent_twice_more_and_then_the_peer_is_suspected() -> None:
    async def scenario(bench: Bench) -> None:
        bench.give_birth("r00")
        bench.run_control.order("go")
        await bench.eventually(lambda: bench.happened(ExchangeFailed))

        first = bench.happened(ExchangeFailed)[0]
        attempts = [
            message.attempt
            for envelope, message in bench.sent()
            if isinstance(message, Summary) and envelope.exchange.hex() == first.exchange
        ]

        assert attempts == [0, 1, 2]
        assert first.attempts == 3

    on_the_bench(scenario)


def test_without_answers_a_robot_sends_less_and_less_until_a_message_comes() -> None:
    async def scenario(bench: Bench) -> None:
        async def asked_within(seconds: float) -> int:
            bench.sent()
            await asyncio.sleep(seconds)
            return sum(isinstance(message, Summary) for _, message in bench.sent())

        # Given a robot whose peers are all silent, as those of a crowded machine seem to be
        await bench.begin("r00")
        first = await asked_within(2)
        await asyncio.sleep(10)
        later = await asked_within(2)
        assert later <= first / 3

        # When one of them answers, it asks as often as before
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        await asyncio.sleep(3)
        peer.cancel()
        assert await asked_within(2) >= first * 0.7

    on_the_bench(scenario, robots=8)


def test_a_late_answer_teaches_how_slow_the_others_are() -> None:
    async def scenario(bench: Bench) -> None:
        # Given peers that answer everything, but a second late
        await bench.begin("r00")
        late: list[tuple[int, bytes, str, int]] = []
        for _ in range(1500):
            now = bench.clock.monotonic_us()
            for envelope, message in bench.sent():
                if isinstance(message, Summary):
                    late.append((now + 1_000_000, envelope.exchange, envelope.receiver, message.attempt))
            while late and late[0][0] <= now:
                _, exchange, peer, attempt = late.pop(0)
                bench.put("r00", peer, Answer(attempt=attempt), exchange=exchange)
            await asyncio.sleep(0.01)

        # Then in the end its exchanges wait long enough to be answered
        failed = [stamped.monotonic_us for stamped in bench.events if isinstance(stamped.event, ExchangeFailed)]
        assert failed
        assert max(failed) < bench.clock.monotonic_us() - 5_000_000

    on_the_bench(scenario, robots=8)


def test_an_answers_wish_is_granted_once() -> None:
    async def scenario(bench: Bench) -> None:
        # Given an open exchange of r00
        bench.give_birth("r00")
        bench.run_control.order("go")
        summaries: list[tuple[str, bytes]] = []
        await bench.eventually(
            lambda: (
                summaries.extend((e.receiver, e.exchange) for e, m in bench.sent() if isinstance(m, Summary))
                or summaries
            )
        )
        peer, exchange = summaries[0]
        want = sum(1 << index for index in held(bench))

        # When its answer comes twice, because the network doubled it
        answer = Answer(want=want.to_bytes(1, "little"))
        sequence = bench.put("r00", peer, answer, exchange=exchange)
        bench.put("r00", peer, answer, exchange=exchange, sequence=sequence, copy=1)
        await asyncio.sleep(0.2)

        # Then one update carries what was wanted
        updates = [message for _, message in bench.sent() if isinstance(message, Update)]
        assert [sorted(part.index for part in update.parts) for update in updates] == [sorted(held(bench))]

    on_the_bench(scenario)
