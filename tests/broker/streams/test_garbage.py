"""What any client may write onto the server of a run: it is skipped or reported in one line, and crashes no process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from broker.control_entries import AppliedChange, PlanChange
from broker.errors import Fenced, JournalLost, RunGone
from broker.faults.grammar import parse_lines
from broker.faults.schedule import timed
from broker.faults.scheduler import PlanScheduler, scheduler_so_far
from broker.ports.robot import GREATEST_ID, Death, Injection
from broker.ports.run import RegisterRow, RunSpec, StoredFates
from broker.relay.core import Fate
from broker.streams.connection import connect, connect_async
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.robot.journal import StreamJournal
from broker.streams.robot.register import StreamRegister
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.injection import CommandStream, StreamInjection, send_command
from broker.streams.run.plan_log import answered_requests, changes_so_far
from broker.streams.run.runs import StreamRuns, read_run_status
from broker.streams.run.supervisor_lease import SupervisorLease
from deploy.attach.context import metadata_of, read_run_info
from deploy.attach.discovery import newest_on, newest_unrecorded
from deploy.errors import NoMetadata
from robots.journal import Header, encode_entry
from robots.run.deal import Terms, encode_terms
from robots.run.leader import PlanPublisher
from robots.run.record_rows import journal_rows, register, streams
from tests.support.recorded_settings import settings_of

pytestmark = pytest.mark.live

KEYS = Keys("t")
TERMS = Terms(robots=1, shards=1, seed=7, tick_us=50_000, quiet_period_us=300_000, median_delay_us=0)
NO_TEXT = (b"\x91", b"garbage", b"", b"\x92\x01\x91\xa2\xff\xff", b"\x91\xa2\xff\xff")
"""What is neither one of our messages nor text, not even in the msgpack of another."""


def deal(client: redis.Redis, run: str = "t", metadata: tuple[bytes, ...] = ()) -> StreamRunControl:
    run_control = StreamRunControl(client, run, retry_s=0)
    header = encode_entry(Header("dealt"))
    run_control.deal(RunSpec(run, 1, PlanChange(()), {"r00": [header]}, encode_terms(TERMS), metadata))
    return run_control


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        client.flushall()
        yield client


# The lease


@pytest.mark.parametrize("garbage", [b"soon", b"", b"\xff", b"1.5", b"9" * 5000])
def test_a_lease_whose_numbers_are_none_is_nobodys_and_nothing_is_noted(client: redis.Redis, garbage: bytes) -> None:
    # Given a run whose lease holds garbage
    deal(client)
    client.hset(
        KEYS.supervisor,
        mapping=dict[Any, Any]({"holder": "x", "until_us": garbage, "renewed_us": garbage, "done_us": garbage}),
    )
    # When somebody wants it / Then it is his, and nothing was noted by anybody before
    assert SupervisorLease(client, "t", "one").hold(None) == (-1, 0)
    assert SupervisorLease(client, "t", "other").hold(None) is None


# The evidence


def test_what_somebody_else_wrote_into_a_journal_is_passed_over_by_onlookers(client: redis.Redis) -> None:
    # Given a journal with an entry that is none of ours, and one whose content is none
    deal(client)
    client.xadd(KEYS.journal("r00"), {"what": "is this"}, id="0-2")
    client.xadd(KEYS.journal("r00"), {"entry": b"\x92\xa6header\xa2\xff\xff", "nonce": b""}, id="0-3")
    client.xadd(KEYS.journal("r00"), {"entry": b"a later life's", "nonce": b"forged"})
    # When people look at it, and when it is recorded
    rows = StreamEvidenceReader(client, "t").journal("r00")
    recorded = list(journal_rows(StreamEvidenceReader(client, "t").collect()))
    # Then neither that nor what no life can have written is there, and the record holds only what can be read
    assert [(row.incarnation, row.number) for row in rows] == [(0, 1), (0, 3)]
    assert recorded == [{"robot": "r00", "id": "0-1", "entry": "header", "origin": "dealt"}]


def test_a_robot_whose_journal_somebody_else_wrote_into_lives_on(server: EmbeddedServer) -> None:
    async def story() -> None:
        with connect(server.url) as client:
            client.flushall()
            deal(client)
            ours = connect_async(server.url)
            # Given a life that has begun, and entries of somebody else's, whose ids are far above its own
            living = StreamJournal(ours, KEYS.journal("r00"), "one")
            await living.append(1, [b"born"])
            client.xadd(KEYS.journal("r00"), {"what": "is this"})
            client.xadd(KEYS.journal("r00"), {"entry": b"a later life's", "nonce": b"forged"})
            # When it goes on / Then they are expelled, and what it stores stands under its own ids
            await living.append(1, [b"more"])
            assert living.foreign == 2
            assert [entry for entry, _ in client.xrange(KEYS.journal("r00"))] == [b"0-1", b"1-1", b"1-2"]
            # When there are more of them, and its next life is born / Then that passes them over, and goes on as well
            client.xadd(KEYS.journal("r00"), {"what": "is this"})
            successor = StreamJournal(ours, KEYS.journal("r00"), "two")
            assert [(row.incarnation, row.number) for row in await successor.replay()] == [(0, 1), (1, 1), (1, 2)]
            await successor.append(2, [b"born"])
            # and the older one is fenced, whatever stands behind the later one's birth
            client.xadd(KEYS.journal("r00"), {"what": "is this"})
            with pytest.raises(Fenced):
                await living.append(1, [b"zombie"])
            assert [row.content for row in await successor.replay()][1:] == [b"born", b"more", b"born"]
            await ours.aclose()

    asyncio.run(story())


def test_a_journal_of_which_only_foreign_entries_are_left_is_lost(server: EmbeddedServer) -> None:
    async def story() -> None:
        with connect(server.url) as client:
            client.flushall()
            deal(client)
            ours = connect_async(server.url)
            # Given a journal that was deleted, and an entry of somebody else's in its place
            client.delete(KEYS.journal("r00"))
            client.xadd(KEYS.journal("r00"), {"what": "is this"})
            # When a life wants to be born / Then nothing of it is proven, and nothing can be stored
            journal = StreamJournal(ours, KEYS.journal("r00"), "one", retry_s=0.2)
            with pytest.raises(JournalLost):
                await journal.replay()
            with pytest.raises(JournalLost):
                await journal.append(1, [b"born"])
            await ours.aclose()

    asyncio.run(story())


def test_a_robot_whose_births_somebody_else_wrote_into_is_born_and_writes(server: EmbeddedServer) -> None:
    async def story() -> None:
        with connect(server.url) as client:
            client.flushall()
            deal(client)
            ours = connect_async(server.url)
            register = StreamRegister(ours, KEYS, "r00", "one")
            # Given a birth stream with an entry of somebody else's, and another one after the birth
            client.xadd(KEYS.birth("r00"), {"nonce": "x"})
            await register.announce_birth(1)
            client.xadd(KEYS.birth("r00"), {"what": "is this"})
            # When the life writes / Then it is no stale one
            assert await register.write(b"secret") is not None
            births = StreamEvidenceReader(client, "t").collect().births["r00"]
            assert births is not None
            assert [(row.what, row.nonce) for row in births] == [("born", "one"), ("attempt", "one")]
            await ours.aclose()

    asyncio.run(story())


def test_what_is_no_fate_is_not_collected_as_one(client: redis.Redis) -> None:
    # Given a fate, what a relay redid, and garbage between them
    deal(client)
    fate = Fate("1-1", None, None, None, None, None, None, "refused", (), (), 0, 9)
    encode = msgspec.msgpack.encode
    first = client.xadd(KEYS.fates(0), {"fates": encode([fate])}).decode()
    for garbage in NO_TEXT:
        for field in ("fates", "redo", "what"):
            client.xadd(KEYS.fates(0), {field: garbage})
    last = client.xadd(KEYS.fates(0), {"redo": encode(["1-1"])}).decode()
    # When the evidence is collected / Then it holds those two
    assert StreamEvidenceReader(client, "t").collect().fates == {
        0: [StoredFates(first, (fate,)), StoredFates(last, redo=("1-1",))]
    }


def test_what_is_no_birth_is_not_collected_as_one(client: redis.Redis) -> None:
    deal(client)
    for fields in ({"what": "is this"}, {"nonce": b"\xff"}, {"nonce": "x", "at_us": "soon"}):
        client.xadd(KEYS.birth("r00"), dict[Any, Any](fields), id="1-*")
    client.xadd(KEYS.birth("r00"), {"nonce": "ours"}, id="1-*")
    client.xadd(KEYS.birth("r00"), {"nonce": "by the clock"})
    births = StreamEvidenceReader(client, "t").collect().births["r00"]
    assert births is not None
    assert [(row.what, row.nonce, row.at_us) for row in births] == [("born", "ours", None)]


def test_what_somebody_else_wrote_into_the_register_is_collected_as_it_stands(client: redis.Redis) -> None:
    # Given a register into which none of our processes wrote
    deal(client)
    client.xadd(KEYS.register, {"what": "is this"}, id="5-1")
    client.xadd(KEYS.register, {"robot": b"\xff", "incarnation": "many", "secret": b"\xff"}, id=GREATEST_ID)
    # When the evidence is collected / Then it is there, for the judge to wonder at, and can be recorded
    evidence = StreamEvidenceReader(client, "t").collect()
    assert evidence.writes == [
        RegisterRow("5-1", "", 0, "", b""),
        RegisterRow(GREATEST_ID, "\ufffd", 0, "", b"\xff"),
    ]
    assert json.dumps(register(evidence))


def test_a_fleet_row_that_is_garbage_is_passed_over(client: redis.Redis) -> None:
    deal(client)
    log = StreamFleetLog(client, "t")
    log.injection("kill", "robot", "r00")
    for number, garbage in enumerate((*NO_TEXT, b"\x94\xa9injection\xa2\xff\xff\xa1a\xa1b")):
        client.xadd(KEYS.fleet, {"row": garbage, "token": str(number)})
    log.death("r00", "r00", 1, "signal", -9)
    assert [type(row) for row in log.rows()] == [Injection, Death]


def test_an_order_that_is_no_text_is_shown_and_recorded_with_what_can_be_read(client: redis.Redis) -> None:
    # Given orders whose contents are not UTF-8
    deal(client)
    for order in ("joined", "crash", "stop"):
        client.xadd(KEYS.orders, {"order": order, "content": b"no\xff"})
    # When they are looked at, and recorded
    run_status, recorded = read_run_status(client, "t"), streams(StreamEvidenceReader(client, "t").collect())["orders"]
    # Then what cannot be read is replaced
    assert run_status is not None
    assert (run_status.stop, run_status.robots) == ("no\ufffd", ("r00",))
    assert [row["reason"] for row in recorded] == [None, "no\ufffd", "no\ufffd", "no\ufffd"]
    assert json.dumps(recorded)


# The list of runs


NO_RUNS = ("a/b", "../up", "a\0b", "ümlaut", "x" * 17, "", "a b", "{a}")


def list_run(client: redis.Redis, name: str, at_us: int = 10**17) -> None:
    client.zadd("lab:runs", {name: at_us})


def test_a_name_that_no_run_may_bear_is_not_listed(client: redis.Redis) -> None:
    for name in NO_RUNS:
        list_run(client, name)
    client.zadd("lab:runs", {b"\xff\xfe": 1})  # type: ignore[dict-item]
    for name in ("7b08e1", "A-b_9", "x" * 16):
        list_run(client, name)
    assert sorted(StreamRuns(client).newest_first()) == ["7b08e1", "A-b_9", "x" * 16]


def test_the_newest_run_is_found_among_garbage_and_what_is_gone_is_removed_from_the_list(
    client: redis.Redis, tmp_path: Path
) -> None:
    # Given a live run, and newer names: of no runs, of one that is gone, and of keys that hold something else
    deal(client)
    for name in (*NO_RUNS, "gone", "other", "empty"):
        list_run(client, name)
    client.set(Keys("other").orders, "a string")
    client.xadd(Keys("empty").orders, {"what": "is this", "shape": b"\x92\x01\x91\xa2\xff\xff"})
    # When somebody looks for the newest / Then it is the live one, and only what is gone is not listed any more
    assert newest_on(client) == "t"
    assert newest_unrecorded(client, tmp_path) == "t"
    assert sorted(StreamRuns(client).newest_first()) == ["empty", "other", "t"]
    # and when that is over, it is the newest that has no record
    StreamRunControl(client, "t").order("stop")
    assert newest_on(client) is None
    assert newest_unrecorded(client, tmp_path) == "t"


def test_the_newest_run_to_record_is_live_or_else_over_without_a_verdict(client: redis.Redis, tmp_path: Path) -> None:
    # Given runs from the oldest to the newest: one that goes on, and three that are over, of which the newest is
    # recorded, and the next one only began to be
    runs = ("live", "oldest", "begun", "recorded")
    for at_us, run in enumerate(runs, start=10**15):
        run_control = deal(client, run)
        list_run(client, run, at_us)
        if run != "live":
            run_control.order("stop")
    (tmp_path / "begun").mkdir()
    (tmp_path / "recorded").mkdir()
    (tmp_path / "recorded" / "verdict.json").touch()
    # Then the live one goes first, and then the newest without a verdict, until all have one
    assert newest_unrecorded(client, tmp_path) == "live"
    StreamRunControl(client, "live").order("stop")
    for run in ("begun", "oldest", "live"):
        assert newest_unrecorded(client, tmp_path) == run
        (tmp_path / run).mkdir(exist_ok=True)
        (tmp_path / run / "verdict.json").touch()
    assert newest_unrecorded(client, tmp_path) is None


def test_a_long_list_of_runs_is_polled_at_from_its_newest_and_not_for_ever(client: redis.Redis) -> None:
    # Given a live run below a hundred names of nothing
    deal(client)
    for number in range(100):
        list_run(client, f"gone{number}")
    # When somebody looks / Then so many are looked at as is decent, and forgotten: the next one gets further
    assert newest_on(client) is None
    assert len(StreamRuns(client).newest_first()) == 101 - 64
    assert newest_on(client) == "t"


def test_a_run_is_listed_from_the_moment_when_it_can_be_found(client: redis.Redis) -> None:
    # Given a run that was dealt, and whose dealer did not come to list it
    deal(client)
    client.delete("lab:runs")
    # When the same is dealt again / Then it is listed
    deal(client)
    assert StreamRuns(client).newest_first() == ["t"]


# Runs that are gone


def test_nothing_is_made_anew_for_a_run_that_was_removed(client: redis.Redis) -> None:
    # Given a run that was removed
    deal(client).forget()
    # When a crash is ordered in it / Then the caller learns that the run is gone, and no key is there
    with pytest.raises(RunGone):
        StreamInjection(client, "t").order_crash("r00/secret_merger")
    with pytest.raises(RunGone):
        send_command(client, "t", "r00", "kill r00")
    assert client.keys() == []


def test_commands_are_received_a_page_at_a_time(client: redis.Redis) -> None:
    # Given an RQ worker that listens, and more commands than one read asks for
    deal(client)
    commands = CommandStream(client, "t", "r00")
    commands.read()
    for number in range(100):
        client.xadd(KEYS.commands("r00"), {"command": f"kill r{number}"})
    # When it reads / Then it gets all of them, a page after the other
    pages = [commands.read() for _ in range(3)]
    assert [len(page) for page in pages] == [64, 36, 0]
    assert [command for page in pages for command in page] == [f"kill r{number}" for number in range(100)]


# Metadata and plans


@pytest.mark.parametrize("limit_us", [None, 0, -1, "soon"])
def test_metadata_without_the_limit_of_the_run_is_refused(client: redis.Redis, limit_us: object) -> None:
    deal(client, metadata=metadata_of(settings_of(limit_us=limit_us), {}))
    with pytest.raises(NoMetadata, match="limit_us"):
        read_run_info(client, "t")


def test_metadata_with_a_limit_is_read(client: redis.Redis) -> None:
    deal(client, metadata=metadata_of(settings_of(for_us=5, plan=("loss 0.2",), instances=(0,), limit_us=9), {}))
    info = read_run_info(client, "t")
    assert (info.bounds.for_us, info.bounds.limit_us, len(info.plan)) == (5, 9, 1)


def test_a_request_whose_control_entry_stands_twice_counts_once() -> None:
    # Given two requests, of which the first stands there more than once, even after the second
    plan = timed(parse_lines("loss 0.2"))
    first = AppliedChange(2_000, PlanChange((), "5-1", "set duplicate 0.1"))
    second = AppliedChange(3_000, PlanChange((), "6-1", "set duplicate 0.3"))
    # When a successor looks at what the relay has met
    once = scheduler_so_far(plan, 0, answered_requests([first, second], []), 1_000)
    twice = scheduler_so_far(plan, 0, answered_requests([first, first, second, first], []), 1_000)
    # Then it stands where its predecessor stood
    assert twice.in_force(5_000_000) == once.in_force(5_000_000)
    assert "duplicate 0.3" in [planned.text for planned in twice.in_force(5_000_000)]


@pytest.mark.parametrize("garbage", [" ", "\n\t", "\u2003", "\x00", ";", "#", "set", "clear", "set kill unknown"])
def test_a_garbage_request_is_refused_and_the_next_one_is_answered(client: redis.Redis, garbage: str) -> None:
    # Given a leader, and garbage among the requests to it
    run_control, log = deal(client), StreamFleetLog(client, "t")
    leader = PlanPublisher(PlanScheduler([], 0), run_control, log)
    entries = [client.xadd(KEYS.requests, {"request": text}).decode() for text in (garbage, "set kill r00 @9s")]
    # When it publishes
    leader.publish(1_000)
    # Then both are answered, for a successor as well
    answered = answered_requests(changes_so_far(client, "t"), log.rows())
    assert [(answer.request_id, answer.request) for answer in answered] == [
        (entries[0], garbage),
        (entries[1], "set kill r00 @9s"),
    ]
    assert [bool(answer.refusal) for answer in answered] == [True, False]
