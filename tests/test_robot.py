"""One robot and its promises: births, merging, quiet, writing, crashes, garbage. In virtual time."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from bench import Bench

from broker.errors import Fenced, JournalLost
from broker.memory.run_control import MemoryFleetLog
from broker.memory.server import MemoryRegister
from robots.journal import Born, Completed, PartKept, Quieted
from robots.knowledge import from_bytes
from robots.messages import Answer, Summary, Update
from robots.secret import Part, cut
from robots.simulation.virtual_time import VirtualClock, run_virtually
from robots.supervision import GaveUp, RestartPolicy
from telemetry.events import (
    ChannelPressure,
    EvidenceLost,
    ExchangeFailed,
    InboxOverflowed,
    InvariantViolated,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageRepeated,
    MessageTrimmed,
    PartsMerged,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotLeft,
    RobotPassive,
    RobotQuiet,
    SecretRefused,
    SecretWritten,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerRestarted,
)

SECRET = "one two three four five six"
PARTS = cut(SECRET)
ALL = (1 << len(PARTS)) - 1


def on_the_bench(scenario: Callable[[Bench], Coroutine[object, object, None]], **options: int) -> None:
    """Run a scenario of one robot, r00, and order it to stop at the end."""

    async def main(clock: VirtualClock) -> None:
        bench = Bench(clock, SECRET, **options)
        await scenario(bench)
        await bench.end()

    run_virtually(main)


def held(bench: Bench) -> list[int]:
    return [entry.part.index for _, entry in bench.journal("r00") if isinstance(entry, PartKept)]


def missing(bench: Bench) -> tuple[Part, ...]:
    return tuple(part for part in PARTS if part.index not in held(bench))


def born(bench: Bench, lives: int = 1) -> Callable[[], bool]:
    return lambda: len(bench.happened(RobotBorn)) >= lives


async def be_an_equal_peer(bench: Bench) -> None:
    """Answer "equal" to every summary of r00 that shows everything, and nothing to any other."""
    while True:
        for envelope, message in bench.sent():
            if isinstance(message, Summary):
                answer = Answer(equal=from_bytes(message.known) == ALL, attempt=message.attempt)
                bench.put("r00", envelope.receiver, answer, exchange=envelope.exchange)
        await asyncio.sleep(0.005)


# Births.


def test_nothing_is_sent_before_the_birth_stands_in_journal_birth_stream_and_outbox() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a summary that waits for a robot not yet born
        bench.put("r00", "r01", Summary(b""))
        assert not bench.server.births["r00"]

        # When it is born, and answers
        bench.give_birth("r00", nonce="mine")
        outbox = bench.server.outboxes[0]
        await bench.eventually(lambda: any(entry.frame for entry in outbox.fresh))

        # Then its birth stands in all three places, and before everything it sent
        kinds = ["control" if entry.control else "envelope" for entry in outbox.fresh]
        assert kinds[:2] == ["control", "control"], "the plan, then the birth"
        assert "control" not in kinds[2:]
        assert (1, Born("mine")) in bench.journal("r00")
        assert [row.nonce for row in bench.server.births["r00"]] == ["mine"]

    on_the_bench(scenario)


def test_a_new_life_remembers_everything_and_learns_nothing_twice() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a life that merged a part and was killed
        first = bench.give_birth("r00")
        await bench.eventually(born(bench))
        learnt = missing(bench)[0]
        bench.put("r00", "r01", Update((learnt,)))
        await bench.eventually(lambda: bench.happened(PartsMerged))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

        # When the next life hears the same part again, from another envelope
        bench.give_birth("r00")
        await bench.eventually(born(bench, 2))
        bench.put("r00", "r01", Update((learnt,)))
        await bench.eventually(lambda: len(bench.happened(MessageReceived)) >= 2)
        await asyncio.sleep(0.1)

        # Then it was born with the part, as the second incarnation, and the journal holds it once
        assert bench.happened(RobotBorn)[1].parts == len(held(bench))
        assert [incarnation for incarnation, entry in bench.journal("r00") if isinstance(entry, Born)] == [1, 2]
        assert held(bench).count(learnt.index) == 1
        assert len(bench.happened(PartsMerged)) == 1

    on_the_bench(scenario)


def test_a_zombie_is_fenced_at_its_next_append_and_ends() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a life that does not know of its successor
        zombie = bench.give_birth("r00", nonce="old")
        await bench.eventually(born(bench))
        zombies_inbox = bench.server.inboxes["r00"]
        bench.give_birth("r00", nonce="new")
        await bench.eventually(born(bench, 2))
        before = bench.journal("r00")

        # When it is handed parts (both read one inbox here: whoever is first takes them)
        for part in missing(bench):
            bench.put("r00", "r01", Update((part,)))
            bench.put("r00", "r01", Update((part,)))
        await bench.eventually(zombie.done)

        # Then it dies of it, and stored nothing as a later entry of its own life
        assert isinstance(zombie.exception(), Fenced)
        assert bench.happened(RobotFenced)
        assert all(incarnation == 2 for incarnation, _ in bench.journal("r00")[len(before) :])
        assert zombies_inbox.added == 2 * len(PARTS) - 2 * len([i for i in before if isinstance(i[1], PartKept)])

    on_the_bench(scenario)


def test_a_lost_journal_is_said_and_never_made_anew() -> None:
    async def scenario(bench: Bench) -> None:
        life = bench.give_birth("r00")
        await bench.eventually(born(bench))
        news = missing(bench)
        del bench.server.journals["r00"]

        bench.put("r00", "r01", Update(news))
        await bench.eventually(life.done)

        assert isinstance(life.exception(), JournalLost)
        assert bench.happened(EvidenceLost) == [EvidenceLost("journal")]
        assert "r00" not in bench.server.journals

    on_the_bench(scenario)


def test_orders_that_are_no_text_end_a_life_in_order_and_crash_nobody() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a robot that lives, and one that comes when all is over
        life = bench.give_birth("r00")
        await bench.eventually(born(bench))

        # When it is ordered to crash somebody, and to stop, in words that are not UTF-8
        bench.desk.order("crash", b"r00/\xff")
        bench.desk.order("stop", b"enough\xff")
        late = bench.give_birth("r01")
        await bench.eventually(lambda: life.done() and late.done())

        # Then both leave in order, and tell what can be read
        assert life.result() == late.result() == "enough\ufffd"
        assert bench.happened(RobotLeft) == [RobotLeft("enough\ufffd")] * 2
        assert bench.happened(WorkerCrashed) == []

    on_the_bench(scenario)


# Merging.


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


# The server's absence.


def test_an_outage_is_no_crash_and_nothing_is_learnt_twice() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a robot whose server goes away while parts are in its inbox
        await bench.begin("r00")
        bench.put("r00", "r01", Update(missing(bench)))
        bench.server.is_away = True
        await asyncio.sleep(30)
        assert not bench.happened(PartsMerged)

        # When it is back, with the same parts in another envelope too
        bench.put("r00", "r01", Update(PARTS))
        bench.server.is_away = False
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        await bench.eventually(lambda: bench.happened(SecretWritten))
        peer.cancel()

        # Then no worker crashed, and each part was journalled once
        assert not bench.happened(WorkerCrashed)
        assert sorted(held(bench)) == list(range(len(PARTS)))
        await bench.eventually(lambda: not bench.server.inboxes["r00"].pending)

    on_the_bench(scenario)


def test_an_outage_between_quiet_and_write_only_delays_the_write() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(PartsMerged))
        await asyncio.sleep(0.2)

        # Given a server that goes away before the quiet period is over (the tick goes on)
        bench.server.is_away = True
        await bench.eventually(lambda: bench.happened(RobotQuiet))
        await asyncio.sleep(10)
        assert not bench.happened(SecretWritten)

        bench.server.is_away = False
        await bench.eventually(lambda: bench.happened(SecretWritten))
        peer.cancel()
        assert not bench.happened(WorkerCrashed)

    on_the_bench(scenario)


def test_a_merger_that_dies_between_journal_and_publication_has_a_successor_that_knows() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a journal that stores an append and loses its writer at once
        await bench.begin("r00")
        journal = bench.ports[0].journal
        append = journal.append

        async def store_and_die(incarnation: int, contents: list[bytes]) -> None:
            await append(incarnation, contents)
            journal.append = append
            raise RuntimeError("killed here")

        journal.append = store_and_die
        news = missing(bench)
        bench.put("r00", "r01", Update(news))
        await bench.eventually(lambda: bench.happened(WorkerRestarted))

        # When its successor lives, and the same parts come again
        await asyncio.sleep(0.2)
        bench.put("r00", "r01", Update(news))
        bench.put("r00", "r01", Summary(ALL.to_bytes(1, "little")))
        answers: list[Answer] = []
        await bench.eventually(lambda: answers.extend(m for _, m in bench.sent() if isinstance(m, Answer)) or answers)

        # Then the journal holds each once, the robot knows them, and it was told once that they were merged
        assert sorted(held(bench)) == list(range(len(PARTS)))
        assert answers[0].equal
        assert [(event.sender, event.merged, event.held) for event in bench.happened(PartsMerged)] == [
            ("r01", len(news), len(PARTS))
        ]
        assert bench.happened(RobotComplete) == [RobotComplete(len(PARTS))]

    on_the_bench(scenario)


def test_entries_that_come_again_while_they_are_in_hand_are_not_acknowledged_early() -> None:
    async def scenario(bench: Bench) -> None:
        # Given parts that wait for a journal that does not answer
        await bench.begin("r00")
        journal = bench.ports[0].journal
        append = journal.append
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def slow(incarnation: int, contents: list[bytes]) -> None:
            await gate
            await append(incarnation, contents)

        journal.append = slow
        bench.put("r00", "r01", Update(missing(bench)))
        await asyncio.sleep(0.1)

        # When an outage makes the inbox hand out its pending entries again
        bench.server.is_away = True
        await asyncio.sleep(3)
        bench.server.is_away = False
        await asyncio.sleep(3)

        # Then the entry is still pending, until the journal has its parts
        assert bench.server.inboxes["r00"].pending
        gate.set_result(None)
        await bench.eventually(lambda: not bench.server.inboxes["r00"].pending)
        assert sorted(held(bench)) == list(range(len(PARTS)))

    on_the_bench(scenario)


# The network's nonsense.


def test_garbage_is_an_event_and_never_a_crash() -> None:
    async def scenario(bench: Bench) -> None:
        bench.give_birth("r00")
        await bench.eventually(born(bench))

        bench.put_frame("r00", b"")
        bench.put_frame("r00", b"\xff" * 100)
        bench.put("r00", "r01", Update((Part(10**9, "far ", False),)))
        bench.put("r00", "r01", Update(missing(bench)[:1]))
        await bench.eventually(lambda: bench.happened(PartsMerged))

        assert len(bench.happened(MessageRefused)) == 3
        assert not bench.happened(WorkerCrashed)
        await bench.eventually(lambda: not bench.server.inboxes["r00"].pending)  # garbage is acknowledged too

    on_the_bench(scenario)


def test_a_message_for_another_robot_is_refused() -> None:
    async def scenario(bench: Bench) -> None:
        bench.give_birth("r00")
        await bench.eventually(born(bench))
        bench.put("r01", "r00", Update(PARTS[:1]))
        frame = bench.server.inboxes["r01"].fresh[0].frame
        assert frame is not None

        bench.put_frame("r00", frame)
        await bench.eventually(lambda: bench.happened(MessageRefused))

        assert bench.happened(MessageRefused)[0].reason == "not for this robot"

    on_the_bench(scenario)


def test_the_same_copy_twice_is_a_repeat_and_another_copy_is_not() -> None:
    async def scenario(bench: Bench) -> None:
        bench.give_birth("r00")
        await bench.eventually(born(bench))
        news = missing(bench)[:1]
        sequence = bench.put("r00", "r01", Update(news))
        bench.put("r00", "r01", Update(news), sequence=sequence)
        bench.put("r00", "r01", Update(news), sequence=sequence, copy=1)
        await bench.eventually(lambda: bench.happened(MessageRepeated) and len(bench.happened(MessageReceived)) == 2)

        assert [message.copy for message in bench.happened(MessageReceived)] == [0, 1]
        assert [repeat.copy for repeat in bench.happened(MessageRepeated)] == [0]
        assert len(bench.happened(PartsMerged)) == 1

    on_the_bench(scenario)


def test_a_trimmed_entry_is_counted_and_acknowledged() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("r00", "r01", Update(PARTS))
        inbox = bench.server.inboxes["r00"]
        inbox.pending["1-0"] = inbox.fresh.popleft()
        bench.server.trim_inbox("r00")

        bench.give_birth("r00")
        await bench.eventually(lambda: bench.happened(MessageTrimmed))

        assert not inbox.pending

    on_the_bench(scenario)


def test_an_inbox_that_overflows_is_told_with_all_that_was_lost() -> None:
    async def scenario(bench: Bench) -> None:
        # Given an inbox that overflowed by more and more before its robot was born
        bench.server.inbox_limit = 100
        for _ in range(130):
            bench.put("r00", "r01", Summary(b""))

        # When the robot lives, then it tells of the loss, once
        bench.give_birth("r00")
        await bench.eventually(lambda: len(bench.happened(MessageReceived)) == 100)
        await asyncio.sleep(0.1)
        assert bench.happened(InboxOverflowed) == [InboxOverflowed(30)]

        # and when more is lost, of all of it
        for _ in range(105):
            bench.put("r00", "r01", Summary(b""))
        await bench.eventually(lambda: len(bench.happened(InboxOverflowed)) > 1)
        assert bench.happened(InboxOverflowed) == [InboxOverflowed(30), InboxOverflowed(35)]

    on_the_bench(scenario)


def test_an_outbox_that_takes_nothing_is_told_in_a_few_lines_and_why_in_each_envelope() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a robot that gossips
        await bench.begin("r00")

        # When its outbox is full, and later away
        bench.server.outbox_limit = 0
        await bench.eventually(lambda: len(bench.happened(MessageDropped)) >= 4)
        bench.server.is_away = True
        await bench.eventually(lambda: len(bench.happened(MessageDropped)) >= 9)
        bench.server.is_away = False
        bench.server.outbox_limit = 1000

        # Then each drop has its reason, and a person is told of 1, 2, 4, 8 … in all
        reasons = [dropped.reason for dropped in bench.happened(MessageDropped)]
        assert reasons[0] == "the outbox is full"
        assert reasons[-1] == "the outbox is away"
        told = [pressure for pressure in bench.happened(ChannelPressure) if pressure.channel == "outbox"]
        assert [pressure.dropped for pressure in told] == [1, 2, 4, 8]
        assert ChannelPressure.notable

    on_the_bench(scenario)


# Gossip.


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
        bench.desk.order("go")
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


def test_while_nobody_answers_a_robot_asks_less_and_less_until_it_is_heard_again() -> None:
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
        bench.desk.order("go")
        asked: list[tuple[str, bytes]] = []
        await bench.eventually(
            lambda: asked.extend((e.receiver, e.exchange) for e, m in bench.sent() if isinstance(m, Summary)) or asked
        )
        peer, exchange = asked[0]
        want = sum(1 << index for index in held(bench))

        # When its answer comes twice, because the network doubled it
        answer = Answer(want=want.to_bytes(1, "little"))
        sequence = bench.put("r00", peer, answer, exchange=exchange)
        bench.put("r00", peer, answer, exchange=exchange, sequence=sequence, copy=1)
        await asyncio.sleep(0.2)

        # Then one update carries what was asked for
        updates = [message for _, message in bench.sent() if isinstance(message, Update)]
        assert [sorted(part.index for part in update.parts) for update in updates] == [sorted(held(bench))]

    on_the_bench(scenario)


# Quiet, complete, written.


def test_a_complete_and_quiet_robot_writes_once_and_has_journalled_why() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(SecretWritten))
        await asyncio.sleep(5)
        peer.cancel()

        assert bench.server.register is not None
        assert [row.secret.decode() for row in bench.server.register] == [SECRET]
        (quiet,) = [entry for _, entry in bench.journal("r00") if isinstance(entry, Quieted)]
        assert quiet.ticks >= bench.terms.quiet_ticks == 5
        assert len(quiet.exchange) == 16, "the exchange that answered equal"
        assert len(bench.happened(SecretWritten)) == 1

    on_the_bench(scenario)


def test_an_incomplete_robot_never_writes_however_quiet_it_is() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        bench.put("r00", "r01", Update(missing(bench)[:-1]))
        await bench.eventually(lambda: bench.happened(RobotQuiet))
        await asyncio.sleep(60)

        assert bench.server.register == []
        assert not bench.happened(SecretWritten)

    on_the_bench(scenario)


def test_a_complete_robot_does_not_write_before_its_quiet_period() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(PartsMerged))
        complete_us = bench.clock.monotonic_us()
        await bench.eventually(lambda: bench.happened(SecretWritten))
        peer.cancel()

        assert bench.clock.monotonic_us() - complete_us >= 0.8 * 20 * 100_000, "20 ticks, each at least 80 ms"

    on_the_bench(scenario, quiet_us=2_000_000)


def test_refused_and_repeated_parts_do_not_disturb_the_quiet() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.begin("r00")
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(PartsMerged))
        begun_us = bench.clock.monotonic_us()

        # When known parts come again and again, all through the quiet period
        while not bench.happened(SecretWritten):
            bench.put("r00", "r01", Update(tuple(PARTS)))
            await asyncio.sleep(0.05)
            assert bench.clock.monotonic_us() - begun_us < 3_000_000
        peer.cancel()

    on_the_bench(scenario)


def test_while_a_peer_is_believed_alive_silence_alone_is_not_quiet() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a complete robot and a peer that answers, but never "equal"
        await bench.begin("r00")
        bench.put("r00", "r01", Update(missing(bench)))
        for _ in range(1000):
            for envelope, message in bench.sent():
                if isinstance(message, Summary):
                    bench.put("r00", envelope.receiver, Answer(attempt=message.attempt), exchange=envelope.exchange)
            await asyncio.sleep(0.01)

        assert not bench.happened(RobotQuiet)

        # When the peer falls silent for good, the robot is alone, and its own knowledge is enough
        await bench.eventually(lambda: bench.happened(SecretWritten), within_s=30)

    on_the_bench(scenario)


def test_the_first_refusal_is_final() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a register that another robot has written
        other = bench.server.births["r01"]
        bench.give_birth("r01")
        await bench.eventually(lambda: other)
        register = MemoryRegister(bench.server, "r01", other[0].nonce)
        await register.announce_birth(1)
        assert await register.write(SECRET.encode()) == "memory"

        # When r00 is complete and quiet too
        bench.give_birth("r00")
        bench.desk.order("go")
        await bench.eventually(born(bench, 2))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(SecretRefused), within_s=60)
        await asyncio.sleep(10)

        # Then it tried once, and the attempt stands in its birth stream
        assert [row.what for row in bench.server.births["r00"]].count("attempt") == 1
        assert not bench.happened(SecretWritten)

    on_the_bench(scenario)


def test_a_register_that_vanished_is_never_written_a_second_time() -> None:
    async def scenario(bench: Bench) -> None:
        bench.server.register = None
        await bench.begin("r00")
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(EvidenceLost), within_s=60)

        assert bench.server.register is None
        assert bench.happened(EvidenceLost) == [EvidenceLost("register")]

    on_the_bench(scenario)


def test_a_robot_falls_passive_only_when_its_dealt_parts_are_safe() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a complete robot whose peer answers, and lacks r00's own parts whatever it is told
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
        asked = {e.exchange for e, m in bench.sent() if isinstance(m, Summary)}
        assert 2 <= len(asked) <= 5

    on_the_bench(scenario)


def test_the_order_stop_ends_a_life_in_order() -> None:
    async def scenario(bench: Bench) -> None:
        life = bench.give_birth("r00")
        bench.desk.order("go")
        await asyncio.sleep(1)
        bench.desk.order("stop", b"limit")

        assert await life == "limit"
        assert bench.happened(RobotLeft) == [RobotLeft("limit")]

    on_the_bench(scenario)


async def begin_with_parts_in_hand(bench: Bench, answer_s: float) -> tuple[Part, ...]:
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
        news = await begin_with_parts_in_hand(bench, answer_s=0.1)
        recalled_us = bench.clock.monotonic_us()

        # When it is recalled, and other parts come afterwards
        bench.recall()
        await asyncio.sleep(0.01)
        bench.put("r00", "r01", Update(news[2:]))

        # Then what it had is journalled, told and acknowledged, and it left within a moment
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
        # Given a life that has parts in hand, and a server that goes away
        news = await begin_with_parts_in_hand(bench, answer_s=0.05)
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
def test_a_recalled_life_that_hears_the_order_stop_meanwhile_is_over_for_good(after_s: float) -> None:
    async def scenario(bench: Bench) -> None:
        # Given a life that is recalled, and needs longer than it has
        await begin_with_parts_in_hand(bench, answer_s=1)
        bench.recall()
        # When the order stop comes, at the latest in the very moment in which it would leave, then that counts
        asyncio.get_running_loop().call_later(after_s, bench.desk.order, "stop", b"limit")

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
        bench.desk.order("go")
        if late:
            await asyncio.sleep(10)
        bench.give_birth("r00")
        asked: list[object] = []
        await bench.eventually(lambda: asked.extend(bench.sent()) or asked, within_s=0.3)

    on_the_bench(scenario)
