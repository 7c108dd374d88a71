"""`robots go`: what comes of it, and what a person is shown of a run that is held back. A real server, no processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.run.control import StreamRunControl
from broker.streams.run.runs import read_run_status
from broker.streams.run.supervisor_lease import Needs, SupervisorLease
from deploy.attach.discovery import HELD_BACK
from deploy.attach.holders import new_token
from tests.support.recorded_settings import settings_row
from tests.support.terminal import Output, Terminal

pytestmark = pytest.mark.live


class OnServer:
    """A server, and a terminal that knows its URL."""

    def __init__(self, server: EmbeddedServer, client: redis.Redis, terminal: Terminal) -> None:
        self.client = client
        self.url = server.url
        self._terminal = terminal

    def do(self, *arguments: str) -> Output:
        return self._terminal.do(*arguments, "--redis-url", self.url)

    def deal(self, *arguments: str) -> str:
        return str(json.loads(self.do("deal", "--json", "--seed", "3", "-n", "2", *arguments).out)["run"])

    def orders(self, run: str) -> list[str]:
        return [order.order for order in StreamRunControl(self.client, run).orders()]


@pytest.fixture
def lab(server: EmbeddedServer, here: object, terminal: Terminal) -> Iterator[OnServer]:
    with connect(server.url) as client:
        client.flushall()
        yield OnServer(server, client, terminal)


def test_a_run_that_waits_for_its_robots_may_begin_when_they_are_born(lab: OnServer) -> None:
    # Given a run that is held back, led, and without any robot yet
    run = lab.deal("--hold")
    lease = SupervisorLease(lab.client, run, new_token(os.getpid()))
    lease.hold(None, Needs(2))

    # When a person lets it begin, twice
    first = lab.do("go", run)
    lease.hold(None, Needs(2))
    second = lab.do("go", run)

    # Then the order stands there once, and how many robots are born is said
    assert lab.orders(run) == ["dealt", "begin"]
    assert first.code == second.code == 0
    assert first.out == second.out
    assert "0 of 2 robots are born; it begins when all are" in first.out


def test_the_answer_is_one_object_with_json(lab: OnServer) -> None:
    run = lab.deal("--hold")

    row = lab.do("go", run, "--json").row

    assert row == {"run": run, "begun": False, "robots": 2, "born": 0, "led": False}


def test_of_a_run_without_a_supervisor_that_is_reported(lab: OnServer) -> None:
    run = lab.deal("--hold")

    assert "has no supervisor: it begins once one leads it (robots supervise)" in lab.do("go").out
    assert lab.orders(run) == ["dealt", "begin"]


@pytest.mark.parametrize(
    ("hold", "orders", "code", "words"),
    [
        ((), (), 2, "is not held back (--hold): it begins by itself when its robots are born"),
        (("--hold",), ("begin", "go"), 4, "has begun before: go was given"),
        (("--hold",), ("stop",), 2, "is over; judge it with: robots verify"),
    ],
)
def test_what_cannot_begin_is_refused_in_one_line(
    lab: OnServer, hold: tuple[str, ...], orders: tuple[str, ...], code: int, words: str
) -> None:
    run = lab.deal(*hold)
    for order in orders:
        StreamRunControl(lab.client, run).order(order)  # type: ignore[arg-type]

    refused = lab.do("go", run)

    assert words in refused.complaint
    assert refused.code == code
    assert lab.orders(run) == ["dealt", *orders]


def test_every_command_names_the_state_of_a_run_that_is_held_back(lab: OnServer) -> None:
    # Given a run that is held back, and one that is not
    run, other = lab.deal("--hold"), lab.deal()

    # Then it is shown where runs are shown,
    states = {row["run"]: row["state"] for row in lab.do("runs", "--json").row["runs"]}
    assert states == {run: HELD_BACK, other: "waiting for go"}
    assert lab.do("ps", run, "--json").row["state"] == HELD_BACK
    assert f"run {run}  {HELD_BACK}  1 relay" in lab.do("faults", "show", run).out

    # until a person lets it begin
    lab.do("go", run)
    assert lab.do("ps", run, "--json").row["state"] == "waiting for go"
    status = read_run_status(lab.client, run)
    assert status is not None
    assert status.may_begin


def test_a_recorded_run_that_is_held_back_is_listed_as_such(lab: OnServer, terminal: Terminal, tmp_path: Path) -> None:
    # Given the record of a live run on this host that is held back
    run = lab.deal("--hold")
    folder = tmp_path / "runs" / run
    folder.mkdir(parents=True)
    live = {"control": lab.url, "data": lab.url, "pid": os.getpid()}
    (folder / "live.json").write_text(json.dumps(live))
    (folder / "settings.json").write_text(json.dumps(settings_row(run=run, hold=True)))

    def state() -> str:
        [row] = terminal.do("runs", "--json", "--runs-dir", str(tmp_path / "runs")).row["runs"]
        return str(row["state"])

    # Then that is its state, until go
    assert state() == HELD_BACK
    StreamRunControl(lab.client, run).order("go")
    assert state() == "live"
