"""A run without a parent on two hosts, with a slow and faulty network between them and clocks that differ. Opt-in: one
such run takes half a minute, and needs root.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.streams.connection import connect
from broker.streams.keys import Keys
from broker.streams.run.runs import read_run_status
from tests.support.live_place import END_S, LIVE, Place, not_held
from tests.support.two_hosts import TwoHosts, missing
from tests.support.waiting import await_true

pytestmark = [*LIVE, pytest.mark.netns, pytest.mark.skipif(bool(missing()), reason=missing())]

ONE_WAY_S = 0.05
STILL_US = 10_000_000  # far more than the second or two that a step takes there


class Lab:
    """Two hosts, each with a folder of its own, and a run on the server of the first."""

    def __init__(self, hosts: TwoHosts, a: Place, b: Place) -> None:
        self.hosts, self.a, self.b = hosts, a, b
        for place, host in ((a, hosts.a), (b, hosts.b)):
            place.program = [*host.prefix, *place.program]
            place.environment |= {**host.environment, "ROBOTS_REDIS_URL": hosts.url}
        self.client = connect(hosts.local_url)
        self.run = ""

    def deal(self, *options: str) -> None:
        out, err = self.a.start("deal", "--json", "--seed", "3", *options).communicate(timeout=END_S)
        assert out, err.decode()
        self.run = json.loads(out)["run"]

    def await_go(self) -> None:
        def is_begun() -> bool:
            run_status = read_run_status(self.client, self.run)
            return run_status is not None and run_status.go_ms is not None

        await_true(is_begun, what="the order go")

    def verify(self) -> tuple[int, dict[str, Any]]:
        """Judged on the second host."""
        out, err = self.b.start("verify", "--wait", "--json").communicate(timeout=END_S)
        assert out, err.decode()
        result = json.loads(out)
        return {"HELD": 0, "BROKEN": 1, "UNPROVEN": 3}[result["verdict"]], result

    def events(self, name: str) -> list[dict[str, Any]]:
        return [row["event"] for row in self.b.events() if row["event"]["name"] == name]


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[[int], Lab]]:
    made: list[Lab] = []

    def make(b_ahead_s: int) -> Lab:
        folders = [tmp_path / name for name in ("server", "a", "b")]
        for folder in folders:
            folder.mkdir()
        hosts = TwoHosts(folders[0], ONE_WAY_S, b_ahead_s)
        made.append(Lab(hosts, Place(folders[1]), Place(folders[2])))
        return made[0]

    yield make
    for lab in made:
        lab.client.close()
        lab.a.clear()
        lab.b.clear()
        lab.hosts.__exit__(None, None, None)


def begin(lab: Lab, *options: str, supervisors_on: str = "ab", relay_on: str = "a") -> None:
    places = {"a": lab.a, "b": lab.b}
    for host in supervisors_on:
        places[host].start("supervise")
    places[relay_on].start("relay")
    lab.a.start("worker", "-n", "3")
    lab.b.start("worker", "-n", "3")
    if not lab.run:
        lab.deal("-n", "6", *options)
    lab.await_go()


@pytest.mark.parametrize("b_ahead_s", [2, -2], ids=["clock ahead", "clock behind"])
def test_a_run_over_two_hosts_is_held_and_no_robot_that_lives_is_given_up(
    make_lab: Callable[[int], Lab], b_ahead_s: int
) -> None:
    # Given six robots on two hosts, a tenth of a second apart, whose clocks differ by two seconds
    lab = make_lab(b_ahead_s)
    begin(lab, "--loss", ".2", "--for", "6s")

    # When the run has ended by itself
    code, result = lab.verify()

    # Then every promise holds, and no robot had to live again, or joined
    assert code == 0, not_held(result)
    assert (result["whole_run"]["lives"], result["whole_run"]["joined"]) == ({}, [])
    assert lab.events("robot.lost") == []


def test_a_relay_far_from_the_server_keeps_its_lease(make_lab: Callable[[int], Lab]) -> None:
    # Given a relay on the host that is far from the server
    lab = make_lab(-2)
    begin(lab, "--loss", ".2", "--for", "6s", relay_on="b")

    # When the run has ended by itself / Then every promise holds, and the relay was never deposed
    code, result = lab.verify()
    assert code == 0, not_held(result)
    assert lab.events("relay.deposed") == []


def test_a_leader_far_from_the_server_keeps_its_lease_while_another_stands_by(make_lab: Callable[[int], Lab]) -> None:
    # Given a run that is led far from the server, and a supervisor near it that would take over
    lab = make_lab(2)
    lab.b.start("supervise")
    lab.deal("-n", "6", "--loss", ".2", "--for", "6s")
    await_true(lambda: lab.client.exists(Keys(lab.run).supervisor), what="a leader")
    begin(lab, supervisors_on="a")

    # When the run has ended by itself / Then every promise holds, and until then it had one leader
    code, result = lab.verify()
    assert code == 0, not_held(result)
    names = [row["event"]["name"] for row in sorted(lab.b.events(), key=lambda row: row["wall_us"])]
    assert names[: names.index("run.stopped")].count("supervisor.began") == 1
    # which never stood still for long
    assert max(event["stalled_us"] for event in lab.events("supervisor.stalled")) < STILL_US


def test_a_network_that_fails_for_a_while_breaks_no_promise(make_lab: Callable[[int], Lab]) -> None:
    # Given a run over two hosts
    lab = make_lab(2)
    begin(lab, "--loss", ".2", "--for", "25s")

    # When the link between them loses a fifth of all packets for a while, and then is down for longer than a lease
    lab.hosts.set_link("loss .2")
    subprocess.run(["sleep", "10"], check=True)
    lab.hosts.set_link("loss 0")
    lab.hosts.switch_link("down")
    subprocess.run(["sleep", "5"], check=True)
    lab.hosts.switch_link("up")

    # Then the run goes on to its end, and nothing is broken
    code, result = lab.verify()
    assert result["ended"] == "complete"
    assert code in (0, 3), not_held(result)
