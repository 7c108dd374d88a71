"""`robots runs` and `robots ps` on a server that has several runs, and what `robots deal` advises there. A real server;
RQ workers and leaders are only what the server would know of them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from jsonschema import Draft202012Validator

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.supervisor_lease import Needs, SupervisorLease
from deploy.attach.context import read_run_info
from deploy.attach.discovery import runs_on
from deploy.attach.holders import new_token
from deploy.commands import deal
from deploy.commands.deal import Found, advice
from deploy.commands.service import OrphanRuns
from deploy.config.experiment import prepare
from deploy.config.settings import load_settings
from deploy.lifecycle.recording import run_settings
from deploy.rq.observed import kept_name
from telemetry.record.settings import decode_settings
from tests.support.recorded_settings import settings_row
from tests.support.terminal import Terminal

pytestmark = pytest.mark.live


class OnServer:
    """A server, and a terminal that knows its URL."""

    def __init__(self, server: EmbeddedServer, client: redis.Redis, terminal: Terminal) -> None:
        self.client = client
        self._url = server.url
        self._terminal = terminal

    def printed(self, *arguments: str) -> str:
        printed = self._terminal.do(*arguments, "--redis-url", self._url)
        assert printed.code == 0, printed.err
        self.err = printed.err
        return printed.out

    def row(self, *arguments: str) -> dict[str, Any]:
        row: dict[str, Any] = json.loads(self.printed(*arguments, "--json"))
        schema = json.loads(
            self._terminal.do("schema", "runs on a server" if arguments[0] == "runs" else arguments[0]).out
        )
        assert [error.message for error in Draft202012Validator(schema).iter_errors(row)] == []
        return row

    def deal(self, *arguments: str) -> dict[str, Any]:
        return self.row("deal", "--seed", "3", *arguments)

    def lead(self, run: str, needs: Needs) -> SupervisorLease:
        lease = SupervisorLease(self.client, run, new_token(os.getpid()))
        assert lease.hold(None, needs) is not None
        return lease

    def relay(self, run: str, shard: int, token: str) -> None:
        self.client.set(Keys(run).lease(shard), token, px=60_000)

    def let_idle(self, *names: str, left_s: int = 76, state: str = "idle") -> None:
        for name in names:
            self.client.hset(f"rq:worker:{name}", "state", state)
            self.client.expire(f"rq:worker:{name}", left_s)
            self.client.sadd("rq:workers:robots", f"rq:worker:{name}")


@pytest.fixture
def lab(server: EmbeddedServer, here: object, terminal: Terminal) -> Iterator[OnServer]:
    with connect(server.url) as client:
        client.flushall()
        yield OnServer(server, client, terminal)


def test_the_runs_of_a_server_are_listed_with_their_state_supervisor_relays_and_what_they_lack(lab: OnServer) -> None:
    # Given a run that has ended, one that is led and lacks a robot, one whose leader is dead, and a new one
    ended, led, left, fresh = (str(lab.deal("-n", "2", "--relays", "2")["run"]) for _ in range(4))
    StreamRunControl(lab.client, ended).order("stop", b"complete")
    StreamRunControl(lab.client, led).order("go")
    lab.lead(led, Needs(1, True))
    lab.relay(led, 1, "a relay")
    lab.lead(left, Needs(2))
    lab.client.hset(Keys(left).supervisor, "until_us", "1")
    # When they are listed
    listed = lab.row("runs")["runs"]
    # Then the newest comes first, and each shows what is known of it
    assert [(run["run"], run["state"]) for run in listed] == [
        (fresh, "waiting for go"),
        (left, "waiting for go"),
        (led, "live"),
        (ended, "complete"),
    ]
    assert [run["supervisor"]["state"] for run in listed] == ["missing", "stale", "running", "missing"]
    assert [run["lacks"] for run in listed] == [None, None, 1, None]
    assert [(run["relays"], run["shards"]) for run in listed] == [(0, 2), (0, 2), (1, 2), (0, 2)]
    assert (listed[2]["supervisor"]["host"], listed[2]["supervisor"]["pid"]) == (socket.gethostname(), os.getpid())
    # and for people, who leads is one cell
    rows = lab.printed("runs").splitlines()
    assert rows[3].split()[:2] == [led, "live"]
    assert f"{socket.gethostname()} {os.getpid()}" in rows[3]
    assert " none " in rows[1]
    assert "stale" in rows[2]


def test_the_last_line_counts_the_rq_workers_that_are_free(lab: OnServer) -> None:
    # Given one that is idle, one that runs a robot, one that was killed, one that a parent keeps, and garbage
    lab.let_idle("idle", kept_name("abc123", 0, 1))
    lab.let_idle("killed", left_s=60)
    lab.let_idle("busy", left_s=61, state="busy")
    lab.client.set("rq:worker:garbage", "x")
    lab.client.sadd("rq:workers:robots", "rq:worker:garbage", "rq:worker:gone")
    keys = set(lab.client.scan_iter())

    assert lab.printed("runs").splitlines() == ["the server holds no run", "4 RQ workers on the server, 1 free"]
    assert (lab.row("runs")["workers"], lab.row("runs")["free"]) == (4, 1)
    assert set(lab.client.scan_iter()) == keys, "it only reads"


def test_without_a_server_the_recorded_runs_are_listed(lab: OnServer, terminal: Terminal) -> None:
    lab.deal("-n", "2")
    assert terminal.do("runs").out == "no run is recorded in runs/ yet\n"


def test_ps_names_its_run_and_shows_relays_supervisor_and_server_beside_the_robots(lab: OnServer) -> None:
    # Given a run with one relay of two, a leader, and an RQ worker that is idle
    run = str(lab.deal("-n", "3", "--relays", "2", "--closed")["run"])
    StreamRunControl(lab.client, run).order("go")
    lab.lead(run, Needs())
    lab.relay(run, 0, new_token(None))
    lab.let_idle("w1")
    # When a person looks
    row, lines = lab.row("ps", run), lab.printed("ps", run).splitlines()
    # Then all of it is there
    seen = {process["process"]: process for process in row["processes"]}
    assert {name: process["state"] for name, process in seen.items()} == {
        "relay:0": "running",
        "relay:1": "missing",
        "supervisor": "running",
        "server": "running",
    }
    assert (seen["relay:0"]["host"], seen["relay:0"]["pid"]) == (socket.gethostname(), None)
    assert (seen["supervisor"]["pid"], seen["server"]["pid"]) == (os.getpid(), lab.client.info("server")["process_id"])
    assert seen["supervisor"]["sign_s"] < 60
    assert seen["server"]["holder"].startswith(("valkey ", "redis "))
    assert (row["run"], row["state"], row["closed"], row["workers"], row["free"]) == (run, "live", True, 1, 1)
    # and the first line names the run, the last one the RQ workers
    assert lines[0] == f"run {run}  live  closed  3 robots, 3 of them waiting for an RQ worker"
    assert lines[-1] == "1 RQ worker on the server, 1 free"


def test_ps_shows_which_robots_wait_and_the_parts_that_no_living_one_holds(lab: OnServer) -> None:
    # Given a run in which no robot lives
    run = str(lab.deal("-n", "2", "--secret", "two words")["run"])
    StreamRunControl(lab.client, run).order("go")
    row = lab.row("ps", run)
    assert {robot["robot"]: (robot["state"], robot["only_here"]) for robot in row["robots"]} == {
        "r00": ("queued", [0, 1]),
        "r01": ("queued", []),
    }
    assert "r00 is queued: no living robot holds parts 0, 1" in lab.printed("ps", run).splitlines()
    # When the run is over, nothing is lacking any more
    StreamRunControl(lab.client, run).order("stop", b"complete")
    assert [robot["only_here"] for robot in lab.row("ps", run)["robots"]] == [[], []]


def test_ps_shows_what_is_paused(lab: OnServer) -> None:
    # Given a relay and a supervisor of which one is paused, and one that went on
    run = str(lab.deal("-n", "2", "--relays", "3")["run"])
    log = StreamFleetLog(lab.client, run)
    for shard in range(3):
        lab.relay(run, shard, new_token(None))
        log.injection("pause", f"relay:{shard}", f"relay:{shard}", "")
    log.injection("resume", "relay:1", "relay:1", "")
    log.death("relay:2", "", 0, "signal", -9)
    states = {process["process"]: process["state"] for process in lab.row("ps", run)["processes"]}
    assert [states[f"relay:{shard}"] for shard in range(3)] == ["paused", "running", "running"]


def test_ps_only_reads(lab: OnServer) -> None:
    run = str(lab.deal("-n", "2")["run"])
    before = {key: lab.client.dump(key) for key in lab.client.scan_iter()}
    lab.printed("ps", run)
    assert {key: lab.client.dump(key) for key in lab.client.scan_iter()} == before


@pytest.mark.parametrize(
    "write", [lambda client, key: client.set(key, "x"), lambda client, key: client.rpush(key, "x")]
)
def test_garbage_in_the_place_of_a_lease_is_no_lease(
    lab: OnServer, write: Callable[[redis.Redis, str], object]
) -> None:
    run = str(lab.deal("-n", "2")["run"])
    write(lab.client, Keys(run).supervisor)
    lab.client.rpush(Keys(run).lease(0), "x")
    [listed] = lab.row("runs")["runs"]
    assert (listed["supervisor"]["state"], listed["relays"]) == ("missing", 0)
    assert lab.printed("ps", run)


def test_a_second_deal_names_the_runs_that_are_live(lab: OnServer) -> None:
    first = lab.deal("-n", "2")
    assert (first["live"], lab.err) == ([], "")
    second = lab.deal("-n", "2")
    assert second["live"] == [first["run"]]
    assert lab.err == (f"another run is live on the server: {first['run']}; its RQ workers take robots of both runs\n")
    third = lab.deal("-n", "2")
    assert third["live"] == [second["run"], first["run"]]
    assert lab.err.startswith("2 other runs are live on the server: ")
    # One that is over is none of them
    for run in (first["run"], second["run"]):
        StreamRunControl(lab.client, run).order("stop", b"complete")
    assert lab.deal("-n", "2")["live"] == [third["run"]]


def test_a_deal_advises_how_many_rq_workers_to_start(lab: OnServer) -> None:
    assert "  25 robots, 0 RQ workers idle: start 25, for example robots worker -n 25\n" in lab.printed(
        "deal", "-n", "25"
    )
    lab.let_idle("w1", "w2")
    dealt = lab.deal("-n", "3")
    assert (dealt["free"], dealt["start"]) == (2, 26)  # 25 robots of the first run wait, too


@pytest.mark.parametrize(
    ("robots", "found", "line"),
    [
        (25, Found(0, 0, []), "25 robots, 0 RQ workers idle: start 25, for example robots worker -n 25"),
        (6, Found(1, 0, []), "6 robots, 1 RQ worker idle: start 5, for example robots worker -n 5"),
        (6, Found(6, 0, []), "6 robots, 6 RQ workers idle: enough"),
        (
            6,
            Found(2, 4, []),
            "6 robots, 4 of other runs in the queue, 2 RQ workers idle: start 8, for example robots worker -n 8",
        ),
        (
            500,
            Found(0, 0, []),
            "500 robots, 0 RQ workers idle: start 500, for example robots worker -n 167 on each of 3 hosts",
        ),
    ],
)
def test_the_advice_is_the_robots_that_have_no_rq_worker(robots: int, found: Found, line: str) -> None:
    assert advice(robots, found) == line


def test_those_who_stay_serve_the_runs_that_go_on_and_have_no_parent(
    lab: OnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run of `robots run`, one that is over, and one that was dealt
    with monkeypatch.context() as patch:
        patch.setattr(deal, "prepare", lambda given, _lab: prepare(given, "run"))
        of_a_parent = str(lab.deal("-n", "2")["run"])
    over, orphan = (str(lab.deal("-n", "2")["run"]) for _ in range(2))
    StreamRunControl(lab.client, over).order("stop", b"complete")
    orphans = OrphanRuns()
    # Then the last alone is theirs, also when they look again, and until it is over
    assert of_a_parent in [held.run for held in runs_on(lab.client)]
    for _ in range(2):
        assert [held.run for held in orphans.on(lab.client)] == [orphan]
    StreamRunControl(lab.client, orphan).order("stop", b"complete")
    assert list(orphans.on(lab.client)) == []


def test_a_command_that_stays_takes_no_run(lab: OnServer, terminal: Terminal) -> None:
    for command in ("supervise", "relay"):
        for words in (["--stay"], ["7b08e1", "--stay", "--redis-url", "unix:///x"]):
            refused = terminal.do(command, *words)
            assert (refused.code, "--stay: it serves all runs of a server" in refused.complaint) == (2, True)


def test_every_supervisor_learns_from_the_server_whether_a_run_is_closed(lab: OnServer) -> None:
    runs = [str(lab.deal("-n", "2", *closed)["run"]) for closed in ((), ("--closed",))]
    assert [read_run_info(lab.client, run).is_closed for run in runs] == [False, True]


def test_a_record_without_the_setting_is_of_a_run_that_was_open() -> None:
    row = settings_row()
    del row["closed"]
    assert decode_settings(json.dumps(row).encode()).closed is False


def test_a_repeated_run_is_closed_as_its_record_is_unless_a_flag_opens_it(here: Path) -> None:
    for run, closed in (("aaaaaa", True), ("bbbbbb", False)):
        (here / "runs" / run).mkdir(parents=True)
        (here / "runs" / run / "settings.json").write_text(json.dumps(settings_row(run=run, closed=closed)))
    repeated = [load_settings({"again": run}).closed for run in ("aaaaaa", "bbbbbb")]
    assert repeated == [True, False]
    assert load_settings({"again": "aaaaaa", "closed": False}).closed is False


def test_a_closed_run_is_repeated_as_one_and_simulated_as_any(here: Path) -> None:
    closed = prepare({"closed": True, "seed": "3"}, "run")
    assert (run_settings("abc123", "run", "test", closed).closed, closed.settings.closed) == (True, True)
    assert run_settings("abc123", "run", "test", closed).again == "robots run -n 6 --seed 3 --closed"
    simulated = run_settings("abc123", "simulate", "test", closed)
    assert (simulated.closed, "--closed" in simulated.again) == (False, False)
