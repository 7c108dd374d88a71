"""What people ask of a run: stored exactly once whatever happens to replies, and read on whatever stands there."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest
import redis

from broker.control_entries import PlanChange, decode_control, encode_control
from broker.errors import RunGone, Unavailable
from broker.faults.grammar import parse_lines
from broker.faults.schedule import timed
from broker.faults.scheduler import PlanScheduler
from broker.ports.run import Evidence, Request, RunSpec
from broker.relay.core import PlanApplied, plan_changed
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.plan_log import LONGEST_REQUEST, StreamRequests
from robots.run.record_rows import plan_rows
from telemetry.verdict.evidence.schema import shape_of
from tests.support.cutting_proxy import CuttingProxy

pytestmark = pytest.mark.live


_runs = count()


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        yield client


@pytest.fixture
def run(client: redis.Redis) -> str:
    """A run that was dealt."""
    run = f"q{next(_runs)}"
    StreamRunControl(client, run).deal(RunSpec(run, 1, PlanChange(()), {"r00": [b"header"]}, b"terms"))
    return run


def test_what_is_asked_is_read_in_order_and_each_once(client: redis.Redis, run: str) -> None:
    # Given one client that schedules the plan of the run, and two that send requests
    scheduler = StreamRequests(client, run)
    assert scheduler.read() == []

    # When both ask
    first = StreamRequests(client, run).add("set loss 0.5")
    second = StreamRequests(client, run).add("clear «loss» r03>r05")

    # Then both requests come, by the ids that were told, and never again
    assert scheduler.read() == [Request(first, "set loss 0.5"), Request(second, "clear «loss» r03>r05")]
    assert scheduler.read() == []
    # And another reader gets them too: reading takes nothing away
    assert [request.entry for request in StreamRequests(client, run).read()] == [first, second]


@pytest.mark.parametrize("lost", [b"XADD", b"XREVRANGE", b"XRANGE", b"WATCH"])
def test_a_lost_reply_never_asks_twice(client: redis.Redis, run: str, proxy: CuttingProxy, lost: bytes) -> None:
    # Given a server whose next two replies to such commands get lost
    proxy.cut(lost, times=2)

    # When somebody asks
    with connect(proxy.url) as cut_off:
        request = StreamRequests(cut_off, run).add("heal")

    # Then the request stands there once, and its id was told
    assert proxy.cuts >= 1
    assert StreamRequests(client, run).read() == [Request(request, "heal")]


class LatePath(CuttingProxy):
    """Holds back the first request that adds something and hangs up; hands it on right before the next such request."""

    held: tuple[socket.socket, bytes] | None = None
    outcome = b""

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._server))
        with client, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while data := (one := ready.select()[0][0]).fileobj.recv(1 << 20):
                if b"XADD" in data:
                    if self.held is None:
                        self.held = (server, data)
                        return
                    late, request = self.held
                    late.sendall(request)
                    self.outcome = late.recv(1 << 20)
                    late.close()
                one.data.sendall(data)
        server.close()


def test_a_request_that_the_server_comes_to_late_is_not_stored_twice(
    server: EmbeddedServer, client: redis.Redis, run: str
) -> None:
    # Given a request that is on its way for so long that it is sent again, and arrives right before that
    late = LatePath(server.folder / "redis.sock", server.folder / f"late{next(_runs)}.sock")

    # When somebody asks
    with connect(late.url) as slow:
        request = StreamRequests(slow, run).add("heal")

    # Then it was stored by the first of the two, and not by the other
    late.close()
    assert request.encode() in late.outcome
    assert StreamRequests(client, run).read() == [Request(request, "heal")]


def test_the_same_words_may_be_asked_again(client: redis.Redis, run: str) -> None:
    requests = StreamRequests(client, run)

    assert requests.add("heal") != requests.add("heal")

    assert [request.text for request in requests.read()] == ["heal", "heal"]


def test_many_who_ask_at_once_are_all_received(server: EmbeddedServer, client: redis.Redis, run: str) -> None:
    # Given twelve who ask at the same moment, each attempt of which watches the stream
    reported: list[str] = []

    def ask(number: int) -> None:
        with connect(server.url) as own:
            reported.append(StreamRequests(own, run).add(f"set loss 0.{number}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]

    # When all of them do
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Then each request stands there once
    read = StreamRequests(client, run).read()
    assert sorted(request.entry for request in read) == sorted(reported)
    assert {request.text for request in read} == {f"set loss 0.{number}" for number in range(12)}


def test_what_is_no_request_is_passed_over(client: redis.Redis, run: str) -> None:
    # Given garbage that was put into the stream by hand, more than a page of it
    key = Keys(run).requests
    garbage = [
        {"request": b""},
        {"request": b"\xff\xfe"},
        {"request": b"x" * (LONGEST_REQUEST + 1)},
        {"other": b"heal"},
    ] * 40
    for fields in garbage:
        client.xadd(key, fields)  # type: ignore[arg-type]
    by_hand = client.xadd(key, {"request": "clear loss"}).decode()

    # When it is read on and on
    scheduler = StreamRequests(client, run)
    read = [request for _ in range(5) for request in scheduler.read()]

    # Then only the request comes, without a nonce as it is
    assert read == [Request(by_hand, "clear loss")]


def test_a_key_of_another_kind_has_nothing_to_read(client: redis.Redis, run: str) -> None:
    client.set(Keys(run).requests, "nonsense")

    assert StreamRequests(client, run).read() == []
    with pytest.raises(Unavailable):
        StreamRequests(client, run, retry_s=0.05).add("heal")


def test_too_many_words_are_refused_before_anything_is_stored(client: redis.Redis, run: str) -> None:
    with pytest.raises(ValueError, match="at most 4096"):
        StreamRequests(client, run).add("é" * (LONGEST_REQUEST // 2) + "!")

    assert not client.exists(Keys(run).requests)


def test_a_run_that_is_gone_is_asked_nothing_and_leaves_no_stream(client: redis.Redis, run: str) -> None:
    StreamRunControl(client, run).forget()

    with pytest.raises(RunGone):
        StreamRequests(client, run).add("heal")

    assert not list(client.scan_iter(f"*{run}*"))


def test_a_server_that_is_away_has_nothing_to_read_and_cannot_be_asked(tmp_path: Path) -> None:
    with connect(f"unix://{tmp_path}/absent") as client:
        requests = StreamRequests(client, "run", retry_s=0.05)

        assert requests.read() == []
        with pytest.raises(Unavailable):
            requests.add("heal")


def test_a_refusal_goes_with_the_plan_to_people_and_into_the_record() -> None:
    # Given a request that a scheduler refused, with something in force
    scheduler = PlanScheduler(timed(parse_lines("loss 0.2")), 0)
    change = scheduler.answer("17-0", "set loss 2", 0)
    assert change.refusal

    # When a relay meets it
    met = decode_control(encode_control(change))
    assert met == change

    # Then people are told that nothing changed, and why; and so is the judge
    assert isinstance(met, PlanChange)
    reported = plan_changed(0, PlanApplied(scheduler.first, met))
    assert (reported.old, reported.new, reported.request, reported.refusal) == (
        reported.new,
        reported.old,
        "set loss 2",
        change.refusal,
    )
    faults = [{"instance": 0, "fault": "loss 0.2"}]
    asked = {"request_id": "17-0", "request": "set loss 2", "refusal": change.refusal}
    [row] = plan_rows(Evidence({0: [("1-0", met)]}, {}, {}, {}, False, None, {}, {}, [], []))
    assert row == {"shard": 0, "id": "1-0", "control": "plan", "faults": faults, **asked}
    assert msgspec.convert(row, shape_of("plan", row)).refusal == change.refusal
