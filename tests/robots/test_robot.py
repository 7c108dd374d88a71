"""One robot's life: its birth, the server's absence, and the network's nonsense."""

import asyncio

from broker.errors import Fenced, JournalLost
from robots.journal import Born, PartKept
from robots.messages import Answer, Summary, Update
from robots.secret import Part
from telemetry.events import (
    ChannelPressure,
    EvidenceLost,
    InboxOverflowed,
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
    RobotQuiet,
    SecretWritten,
    ServerForgot,
    WorkerCrashed,
    WorkerRestarted,
)
from tests.robots.robot_bench import ALL, PARTS, Bench, be_an_equal_peer, born, held, missing, on_the_bench

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

        # When the next life receives the same part again, from another envelope
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

        # When it receives parts (both read one inbox here: the first takes them)
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


def test_a_lost_journal_is_reported_and_never_made_anew() -> None:
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


def test_an_idle_life_restores_what_the_server_forgot_within_a_second_and_reports_it() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a life that has merged all parts, and a server that forgets its journal's end and its birth
        bench.give_birth("r00")
        await bench.eventually(born(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(RobotComplete))
        before = bench.journal("r00")
        for rows in (bench.server.journals["r00"].rows, bench.server.births["r00"]):
            del rows[-1:]
        # When nothing more happens
        await bench.eventually(lambda: len(bench.happened(ServerForgot)) == 2, within_s=1.1)
        # Then all stands there again, and each loss was reported once
        assert bench.journal("r00") == before
        assert [row.entry for row in bench.server.births["r00"]] == ["1-1"]
        await asyncio.sleep(3)
        assert bench.happened(ServerForgot) == [ServerForgot("entries"), ServerForgot("birth")]

    on_the_bench(scenario)


def test_a_writer_whose_write_the_server_forgot_reports_it_and_does_not_write_again() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a robot that wrote the secret, and was told so
        await bench.begin("r00")
        peer = asyncio.ensure_future(be_an_equal_peer(bench))
        bench.put("r00", "r01", Update(missing(bench)))
        await bench.eventually(lambda: bench.happened(SecretWritten))
        # When the server forgets the write and the attempt, which stand there together
        bench.server.register = []
        del bench.server.births["r00"][-1:]
        # Then that is reported within a second, and nothing is written
        await bench.eventually(lambda: bench.happened(ServerForgot), within_s=1.1)
        await asyncio.sleep(3)
        assert bench.happened(ServerForgot) == [ServerForgot("birth")]
        assert bench.server.register == []
        assert len(bench.server.births["r00"]) == 1
        peer.cancel()

    on_the_bench(scenario)


def test_a_loss_just_before_the_order_to_stop_is_reported() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a life, and a server that forgets its birth in the journal
        life = bench.give_birth("r00")
        await bench.eventually(born(bench))
        del bench.server.journals["r00"].rows[-1:]
        # When the order to stop comes at once
        bench.run_control.order("stop", b"complete")
        await life
        # Then the life has restored and reported it before it left
        assert bench.happened(ServerForgot) == [ServerForgot("entries")]
        assert bench.journal("r00")[-1][1] == Born("nonce-0")

    on_the_bench(scenario)


def test_orders_that_are_no_text_end_a_life_in_order_and_crash_no_worker() -> None:
    async def scenario(bench: Bench) -> None:
        # Given a robot that lives, and one that comes when all is over
        life = bench.give_birth("r00")
        await bench.eventually(born(bench))

        # When it is ordered to crash a worker, and to stop, in text that is not UTF-8
        bench.run_control.order("crash", b"r00/\xff")
        bench.run_control.order("stop", b"enough\xff")
        late = bench.give_birth("r01")
        await bench.eventually(lambda: life.done() and late.done())

        # Then both leave in order, and report what can be read
        assert life.result() == late.result() == "enough\ufffd"
        assert bench.happened(RobotLeft) == [RobotLeft("enough\ufffd")] * 2
        assert bench.happened(WorkerCrashed) == []

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

        # Then the journal holds each once, the robot knows them, and one event reports that they were merged
        assert sorted(held(bench)) == list(range(len(PARTS)))
        assert answers[0].equal
        assert [(event.sender, event.indices, event.held) for event in bench.happened(PartsMerged)] == [
            ("r01", tuple(part.index for part in news), len(PARTS))
        ]
        assert bench.happened(RobotComplete) == [RobotComplete(len(PARTS))]

    on_the_bench(scenario)


def test_entries_that_come_again_while_they_are_unacknowledged_are_not_acknowledged_early() -> None:
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

        # When an outage makes the inbox deliver its pending entries again
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


def test_an_inbox_that_overflows_is_reported_with_all_that_was_lost() -> None:
    async def scenario(bench: Bench) -> None:
        # Given an inbox that overflowed by more and more before its robot was born
        bench.server.inbox_limit = 100
        for _ in range(130):
            bench.put("r00", "r01", Summary(b""))

        # When the robot lives, then it reports the loss, once
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


def test_an_outbox_that_takes_nothing_is_reported_in_a_few_lines_and_why_in_each_envelope() -> None:
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

        # Then each drop has its reason, and events report 1, 2, 4, 8 … in all
        reasons = [dropped.reason for dropped in bench.happened(MessageDropped)]
        assert reasons[0] == "the outbox is full"
        assert reasons[-1] == "the outbox is away"
        reported = [pressure for pressure in bench.happened(ChannelPressure) if pressure.channel == "outbox"]
        assert [pressure.dropped for pressure in reported] == [1, 2, 4, 8]
        assert ChannelPressure.notable

    on_the_bench(scenario)
