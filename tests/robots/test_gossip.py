"""Exchanges: what each side lacks, retransmissions without an answer, and fewer of them once passive."""

import asyncio

import msgspec

from broker.envelope import Envelope, damaged, encode
from robots.knowledge import from_bytes
from robots.messages import Answer, Summary, Update
from telemetry.events import ExchangeEnded, MessageRefused, MessageSent
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

        # And it is known which copy it replies to, and that a summary is the first of its exchange
        [reported] = [event for event in bench.happened(MessageSent) if event.kind == "answer"]
        assert (reported.receiver, reported.cause, reported.attempt) == ("r01", (1, 1, 0), 0)
        assert reported.waited_us >= 0

    on_the_bench(scenario)


def test_an_unanswered_summary_is_sent_twice_more_and_then_the_peer_is_suspected() -> None:
    async def scenario(bench: Bench) -> None:
        bench.give_birth("r00")
        bench.run_control.order("go")
        await bench.eventually(lambda: bench.happened(ExchangeEnded))

        first = bench.happened(ExchangeEnded)[0]
        attempts = [
            message.attempt
            for envelope, message in bench.sent()
            if isinstance(message, Summary) and envelope.exchange.hex() == first.exchange
        ]

        assert attempts == [0, 1, 2]
        assert (first.outcome, first.attempts, first.wanted) == ("timeout", 3, 0)
        assert first.took_us > 0

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
        failed = [
            stamped.monotonic_us
            for stamped in bench.events
            if isinstance(stamped.event, ExchangeEnded) and stamped.event.outcome == "timeout"
        ]
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


def test_the_end_of_an_exchange_is_reported_once_and_an_update_names_the_answer_that_it_replies_to() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a robot that has begun an exchange
        await bench.begin("r00")
        [begun] = await bench.eventually_sent(Summary)
        # When its peer's answer comes twice, and wants one part
        want = (1 << held(bench)[0]).to_bytes(1, "little")
        answer = Answer(want=want, attempt=0)
        sequence = bench.put("r00", begun.receiver, answer, exchange=begun.exchange, copy=1)
        bench.put("r00", begun.receiver, answer, exchange=begun.exchange)
        [update] = await bench.eventually_sent(Update, begun.exchange)
        await asyncio.sleep(0.01)
        # Then the exchange has ended once, answered
        ended = [event for event in bench.happened(ExchangeEnded) if event.exchange == begun.exchange.hex()]
        assert [(event.peer, event.outcome, event.attempts, event.wanted) for event in ended] == [
            (begun.receiver, "answered", 1, 1)
        ]
        # And the update is known as the reply to the copy that came first
        [reported] = [event for event in bench.happened(MessageSent) if event.kind == "update"]
        assert (reported.sequence, reported.cause) == (update.sequence, (1, sequence, 1))

    on_the_bench(scenario)


def test_of_a_damaged_envelope_its_reader_reports_what_it_claims_to_be() -> None:
    async def scenario(bench: Bench) -> None:
        # Given an envelope whose body was damaged, and bytes that nothing can be made of
        bench.give_birth("r00")
        await bench.eventually(born(bench))
        whole = encode(Envelope("abc123", "r01", 2, "r00", 9, b"exchange", "summary", b"body"))
        bench.put_frame("r00", damaged(whole, 4, 0.5), copy=1)
        bench.put_frame("r00", b"\0\0\0\0nothing")
        # When the robot has refused both
        await bench.eventually(lambda: len(bench.happened(MessageRefused)) == 2)
        # Then it tells what the first claims to be, and nothing of the other
        first, second = bench.happened(MessageRefused)
        assert msgspec.structs.astuple(first)[2:] == ("r01", 2, 9, 1, "summary", b"exchange".hex())
        assert (second.reason, second.sender, second.exchange) == ("bad checksum", "", "")

    on_the_bench(scenario)
