"""The end of a run without a parent: what is left by whom, who waits for whom, and what becomes of the record."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError

from broker.errors import RunGone, Unavailable
from broker.ports.robot import LeadershipGap
from broker.relay.core import Relay, parse_id
from broker.streams.address import Address
from broker.streams.connection import Server, connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.events import BlockingEventLog
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.runs import StreamRuns, read_run_status
from broker.streams.run.supervisor_lease import SupervisorLease
from deploy.attach.context import read_metadata
from deploy.attach.discovery import RunLocation
from deploy.commands import deal, main
from deploy.commands.relay import _relay
from deploy.commands.service import RunLost, serve_in_turn
from deploy.commands.supervise import _supervise
from deploy.config.settings import PlaceSettings
from deploy.fleet import relay_main
from deploy.lifecycle import closing
from deploy.lifecycle.closing import close, forget_run, record_run, succeeding
from deploy.processes.signals import ShutdownSignals
from telemetry.events import RobotBorn, ServerForgot, Stamped
from telemetry.record.folder import NoSuchRun
from telemetry.stream.publisher import encode_events
from tests.support.collector import Sink, attributes_of, collecting
from tests.support.waiting import DEADLINE_S, await_true

pytestmark = pytest.mark.live

Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """Exit code, result and complaint of a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("ROBOTS_RUNS_DIR", "ROBOTS_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def dealt(server: EmbeddedServer, client: redis.Redis, called: Called) -> str:
    """A run that was dealt, and nothing more."""
    return deal_one(server, called)


@pytest.fixture
def sink() -> Iterator[Sink]:
    yield from collecting(Sink())


def deal_one(server: EmbeddedServer, called: Called) -> str:
    code, out, err = called("deal", "--json", "-n", "2", "--redis-url", server.url)
    assert code == 0, err
    return str(json.loads(out)["run"])


def order_stop(client: redis.Redis, run: str) -> None:
    StreamRunControl(client, run).order("stop", b"stopped")


def is_held(client: redis.Redis, run: str) -> bool:
    return read_run_status(client, run) is not None


# The record


class LosingReads:
    """A client that loses its connection at some of its reads, counted from 1."""

    def __init__(self, client: redis.Redis, is_lost: Callable[[int], bool]) -> None:
        self._client = client
        self._is_lost = is_lost
        self._reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pipeline(self, **options: Any) -> Any:
        pipe: Any = self._client.pipeline(**options)
        read = pipe.xread

        def read_or_lose(*arguments: Any, **options: Any) -> Any:
            self._reads += 1
            if self._is_lost(self._reads):
                raise RedisConnectionError("lost")
            return read(*arguments, **options)

        pipe.xread = read_or_lose
        return pipe


def report_events(client: redis.Redis, run: str, number: int) -> None:
    for count in range(1, number + 1):
        BlockingEventLog(client, Keys(run).events).append(encode_events([reported(run, count)]))


def reported(run: str, number: int) -> Stamped:
    return Stamped(run, "r00", 1, number, number, number, RobotBorn(1, 0))


def recorded(runs: Path, run: str) -> int:
    return len((runs / run / "events.jsonl").read_text().splitlines())


def test_a_connection_that_is_lost_between_two_pages_shortens_no_record(
    client: redis.Redis, dealt: str, tmp_path: Path
) -> None:
    # Given more events than are read at once
    metadata = read_metadata(StreamEvidenceReader(client, dealt), dealt)
    report_events(client, dealt, 600)
    # When the second read is lost
    record_run(LosingReads(client, lambda read: read == 2), dealt, tmp_path, metadata, "stopped")  # type: ignore[arg-type]
    # Then all of them are in the record: and what the deal told
    assert recorded(tmp_path, dealt) == 601


def test_a_record_that_would_be_short_is_not_made(
    client: redis.Redis, dealt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that goes away between two pages
    monkeypatch.setattr(closing, "RETRY_S", 0.05)
    metadata = read_metadata(StreamEvidenceReader(client, dealt), dealt)
    report_events(client, dealt, 300)
    # When the run is recorded, then it is told, and nothing is left that hinders the next who tries
    with pytest.raises(Unavailable):
        record_run(LosingReads(client, lambda read: read > 1), dealt, tmp_path / "runs", metadata, "stopped")  # type: ignore[arg-type]
    assert list((tmp_path / "runs").iterdir()) == []
    record_run(client, dealt, tmp_path / "runs", metadata, "stopped")
    assert recorded(tmp_path / "runs", dealt) == 301
    assert (tmp_path / "runs" / "latest").resolve().name == dealt


def test_a_run_of_which_a_life_reports_that_the_server_forgot_something_is_recorded_as_lost(
    client: redis.Redis, dealt: str, tmp_path: Path
) -> None:
    # Given a run that ended in order, and a life that found only then what its server had forgotten
    metadata = read_metadata(StreamEvidenceReader(client, dealt), dealt)
    found = Stamped(dealt, "r00", 1, 1, 0, 0, ServerForgot("entries"))
    assert BlockingEventLog(client, Keys(dealt).events).append(encode_events([found]))
    # When it is recorded
    result = record_run(client, dealt, tmp_path / "runs", metadata, "complete")
    # Then it ended as lost
    assert (result.ended, result.verdict) == ("lost", "UNPROVEN")
    assert result.promises["once"].why.startswith("the run was lost: the server came back older: r00 missed")


def test_of_two_who_record_in_one_place_the_later_judges_what_the_first_has_made(
    client: redis.Redis, dealt: str, tmp_path: Path
) -> None:
    metadata = read_metadata(StreamEvidenceReader(client, dealt), dealt)
    first = record_run(client, dealt, tmp_path / "runs", metadata, "stopped")
    sealed = (tmp_path / "runs" / dealt / "manifest.json").stat().st_mtime_ns

    second = record_run(client, dealt, tmp_path / "runs", metadata, "interrupted")

    assert second.json == first.json
    assert second.json["record"].endswith(f"runs/{dealt}")
    assert (tmp_path / "runs" / dealt / "manifest.json").stat().st_mtime_ns == sealed
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [dealt, "latest"]


def test_a_draft_that_a_killed_process_left_is_no_run(
    server: EmbeddedServer, client: redis.Redis, dealt: str, tmp_path: Path, called: Called
) -> None:
    # Given a record that was begun when its process was killed
    draft = tmp_path / "runs" / f".{dealt}-0badcafe"
    draft.mkdir(parents=True)
    (draft / "settings.json").write_text("{}")
    order_stop(client, dealt)
    # When the run is recorded again
    code, out, err = called("verify", "--wait", dealt, "--json", "--redis-url", server.url)
    # Then it is
    assert json.loads(out)["run"] == dealt, (code, err)
    # and the draft is nowhere told of
    assert [run["run"] for run in json.loads(called("runs", "--json")[1])["runs"]] == [dealt]


def test_a_run_without_a_parent_leaves_its_traces_in_its_record(
    server: EmbeddedServer, client: redis.Redis, dealt: str, tmp_path: Path, called: Called
) -> None:
    order_stop(client, dealt)
    # When it is recorded by who waited for its end
    _, out, err = called("verify", "--wait", dealt, "--redis-url", server.url)
    # Then its traces are files there, and the last line says how to look at them
    names = sorted(path.name for path in (tmp_path / "runs" / dealt / "traces").iterdir())
    assert names == ["exchanges.jsonl", "run.jsonl"], err
    assert out.splitlines()[-1] == f"  traces      robots traces {dealt}"


def test_the_traces_of_a_run_without_a_parent_are_delivered_once_it_is_judged(
    server: EmbeddedServer,
    client: redis.Redis,
    dealt: str,
    tmp_path: Path,
    called: Called,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
    order_stop(client, dealt)
    # When it is recorded, and its result is printed as JSON
    _, out, err = called("verify", "--wait", dealt, "--json", "--redis-url", server.url)
    # Then the collector has the run's own trace with the verdict, and one line tells beside the result
    [run] = [span for span in sink.spans if span["name"] == "run"]
    assert attributes_of(run)["gossip.verdict"] == json.loads(out)["verdict"]
    assert f"  traces: {len(sink.spans)} spans accepted at {sink.url}" in err.splitlines()
    assert not (tmp_path / "runs" / dealt / "traces").exists()


def test_a_folder_that_hinders_the_record_is_complained_of_before_anything_is_waited_for(
    server: EmbeddedServer, dealt: str, tmp_path: Path, called: Called
) -> None:
    # Given a run that goes on, and somebody's folder where its record would be
    (tmp_path / "runs" / dealt).mkdir(parents=True)
    (tmp_path / "runs" / dealt / "settings.json").write_text("{}")
    # When its end is to be waited for, then not a moment is
    code, out, err = called("verify", "--wait", dealt, "--redis-url", server.url)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"runs/{dealt} holds a record that was begun" in err


# Who waits for whom


def test_a_process_that_has_closed_a_run_gives_its_lease_back(client: redis.Redis, dealt: str) -> None:
    with succeeding(client, dealt, lambda: True):
        assert SupervisorLease(client, dealt, "next").hold(None) is None
    assert SupervisorLease(client, dealt, "next").hold(None) is not None


@pytest.mark.parametrize("died_before_s", [30, 0])
def test_the_gap_that_a_dead_leader_left_is_recorded_if_it_began_before_the_order_to_stop(
    client: redis.Redis, dealt: str, died_before_s: int
) -> None:
    # Given the lease of a leader that was last renewed some time before the order to stop, or just then
    SupervisorLease(client, dealt, "leader", lease_us=0).hold(None)
    seconds, microseconds = client.time()
    renewed_us = (int(seconds) - died_before_s) * 1_000_000 + int(microseconds)
    client.hset(Keys(dealt).supervisor, "renewed_us", str(renewed_us))
    StreamRunControl(client, dealt).order("stop", b"stopped")
    # When the run is closed, twice
    for _ in range(2):
        with succeeding(client, dealt, lambda: True):
            pass
    # Then the record has a gap, and only one, if there was one before the order
    gaps = [row for row in StreamEvidenceReader(client, dealt).collect().fleet if isinstance(row, LeadershipGap)]
    assert [row.away_us // 10_000_000 for row in gaps] == ([3] if died_before_s else [])


def test_a_run_is_removed_only_after_its_supervisor_has_ended(
    client: redis.Redis, dealt: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given somebody who supervises a run
    monkeypatch.setattr(closing, "ORDERS_S", 0.0)
    lease = SupervisorLease(client, dealt, "leader")
    lease.hold(None)
    # When it is to be stopped and removed
    stopping = threading.Thread(target=lambda: _stop_and_forget(server.url, dealt))
    stopping.start()
    await_true(lambda: (run_status := read_run_status(client, dealt)) and run_status.stop)
    # Then that waits for him
    stopping.join(0.5)
    assert stopping.is_alive()
    assert is_held(client, dealt)
    lease.release()
    stopping.join(DEADLINE_S)
    assert not is_held(client, dealt)


def _stop_and_forget(url: str, run: str) -> None:
    with pytest.raises(SystemExit):
        main(["stop", run, "--forget", "--redis-url", url])


def test_those_who_serve_a_run_have_a_moment_to_receive_that_it_was_stopped(client: redis.Redis, dealt: str) -> None:
    # Given a run that is stopped just now
    order_stop(client, dealt)
    [stop] = [order for order in StreamRunControl(client, dealt).orders() if order.order == "stop"]
    # When it is removed
    forget_run(Server(client, client), dealt)
    # Then not before all can have heard of it
    seconds, microseconds = client.time()
    assert int(seconds) + int(microseconds) / 1e6 - parse_id(stop.entry)[0] / 1000 >= closing.ORDERS_S
    assert not is_held(client, dealt)


def test_a_relay_that_keeps_its_shard_does_not_keep_the_end_of_a_run(
    client: redis.Redis, dealt: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a relay that never lets its shard go
    monkeypatch.setattr(closing, "DRAIN_S", 0.3)
    client.set(Keys(dealt).lease(0), "stranger")
    output: list[str] = []
    # When the run is closed
    close(Server(client, client), Address.one(server.url), dealt, partial(Relay, dealt, 7), lambda: True, output.append)
    # Then it says in one line who holds what
    assert output == [f"run {dealt}: relay stranger holds shard 0; what is left there stays"]


def test_a_person_who_does_not_wait_for_a_relay_is_received(
    client: redis.Redis, dealt: str, server: EmbeddedServer
) -> None:
    client.set(Keys(dealt).lease(0), "stranger")
    began_s = time.monotonic()

    close(
        Server(client, client),
        Address.one(server.url),
        dealt,
        partial(Relay, dealt, 7),
        lambda: False,
        lambda _line: None,
    )

    assert time.monotonic() - began_s < closing.DRAIN_S / 2


def test_what_serves_run_after_run_goes_on_after_one_that_is_lost_or_cannot_be_served(
    server: EmbeddedServer, client: redis.Redis, dealt: str, called: Called, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given three runs, of which the first is lost and the second cannot be served
    served: list[str] = []
    with ShutdownSignals() as shutdown:

        def do(where: RunLocation) -> None:
            served.append(where.run)
            order_stop(client, where.run)
            if len(served) == 3:
                shutdown.reason = "stopped"
                return
            deal_one(server, called)
            raise (RunLost if len(served) == 1 else NoSuchRun)(f"trouble {len(served)}")

        # When they are served one after the other
        serve_in_turn(PlaceSettings(redis_url=server.url), shutdown, do)
    # Then each is served, and told
    assert (len(served), served[0]) == (3, dealt)
    assert "trouble 2\n" in capsys.readouterr().err


# A run that is over, or gone


def test_a_relay_whose_run_is_removed_before_it_polls_at_the_orders_takes_it_for_over(
    server: EmbeddedServer,
    client: redis.Redis,
    dealt: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Given a relay that does not look at the orders
    monkeypatch.setattr(relay_main, "_POLL_S", 1000.0)

    def remove() -> None:
        await_true(lambda: client.get(Keys(dealt).lease(0)))
        StreamRunControl(client, dealt).forget()

    removing = threading.Thread(target=remove)
    removing.start()
    # When the run is removed under it, then it leaves, and says why
    _relay(RunLocation(dealt, Address.one(server.url), None), SimpleNamespace(reason=None), None)  # type: ignore[arg-type]
    removing.join()
    assert f"run {dealt} is over, its server does not hold it any more\n" in capsys.readouterr().err


def test_a_run_that_is_over_needs_no_supervisor(
    server: EmbeddedServer, client: redis.Redis, dealt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    order_stop(client, dealt)
    with ShutdownSignals() as shutdown:
        _supervise(RunLocation(dealt, Address.one(server.url), None), shutdown)
    assert f"run {dealt} is over; record and judge it with" in capsys.readouterr().err
    assert not client.exists(Keys(dealt).supervisor)


def test_a_supervisor_of_a_run_that_vanishes_before_it_was_stopped_states_so(
    server: EmbeddedServer, client: redis.Redis, dealt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that is lost in the moment in which its lease is taken
    def gone(_lease: SupervisorLease, *_: object) -> None:
        StreamRunControl(client, dealt).forget()
        raise RunGone(dealt)

    monkeypatch.setattr(SupervisorLease, "hold", gone)
    # When somebody supervises it, then that is no end in order
    with ShutdownSignals() as shutdown, pytest.raises(RunLost, match=dealt):
        _supervise(RunLocation(dealt, Address.one(server.url), None), shutdown)


# A deal that fails


@pytest.mark.parametrize("failing", ["before its last step", "in the queue"])
def test_a_deal_that_fails_leaves_nothing_and_names_its_run(
    failing: str, server: EmbeddedServer, client: redis.Redis, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that goes away in the middle of a deal, for a moment
    enqueue, queued = deal.enqueue_while, []

    def fail(*_: object) -> None:
        raise Unavailable("gone")

    def enqueue_one(connection: redis.Redis, run: str, robot: str, is_there: Callable[[], bool]) -> None:
        if queued:
            fail()
        enqueue(connection, run, robot, is_there)
        queued.append(run)

    if failing == "in the queue":
        monkeypatch.setattr(deal, "enqueue_while", enqueue_one)
    else:
        add = StreamRuns.add
        monkeypatch.setattr(StreamRuns, "add", lambda runs, run: (add(runs, run), fail()))
    # When somebody deals
    code, _, err = called("deal", "-n", "2", "--redis-url", server.url)
    # Then nothing of it is left, and it is told what failed
    assert (code, err.count("\n")) == (4, 1)
    assert "could not be dealt, the server went away: gone" in err
    assert [key for key in client.scan_iter() if key.startswith(b"lab:") or b":robot-" in key] == []
    assert client.llen("rq:queue:robots") == 0
