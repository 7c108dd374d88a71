"""What `robots runs --prune` removes from a server, and what it never touches."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.streams.address import Address
from broker.streams.connection import Server
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import RUNS, Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.events import BlockingEventLog
from broker.streams.run.leftovers import idle_s
from broker.streams.run.supervisor_lease import SupervisorLease
from deploy.commands import main
from deploy.lifecycle import pruning
from deploy.lifecycle.pruning import Pruned, prune_server
from deploy.rq.queue import enqueue_robot
from tests.support.port_labs import run_spec
from tests.support.rq_lab import Lab, beating

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]

DAY_US = 24 * 3_600_000_000


class Place:
    """A server, a folder of records, and runs on it."""

    def __init__(self, url: str, runs: Path) -> None:
        self.url, self.runs = url, runs
        self.server = Server.at(Address.one(url))
        self.data = self.server.data

    def deal(self, run: str) -> StreamRunControl:
        run_control = StreamRunControl(self.data, run)
        run_control.deal(run_spec(run, ("r00", "r01")))
        BlockingEventLog(self.data, Keys(run).events).append(b"frame")
        for robot in ("r00", "r01"):
            enqueue_robot(self.server.control, run, robot)
        return run_control

    def record(self, run: str) -> None:
        (self.runs / run).mkdir(parents=True)
        (self.runs / run / "verdict.json").write_text("{}")

    def prune(self, older_than_us: int = DAY_US) -> Pruned:
        return prune_server(self.server, self.runs, older_than_us)

    def held(self) -> set[str]:
        return {key.decode() for key in self.data.scan_iter()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with EmbeddedServer() as server:
        yield Place(server.url, tmp_path / "runs")


def test_a_run_that_was_stopped_and_is_recorded_here_is_removed_whole(place: Place) -> None:
    # Given a run that was stopped and recorded, and whose jobs were left
    place.deal("aaaaaa").order("stop", b"complete")
    place.record("aaaaaa")
    # When the server is pruned
    pruned = place.prune()
    # Then nothing of it is left, neither of the streams nor of RQ
    assert dict(pruned.runs) == {"aaaaaa": f"it is recorded in {place.runs}/"}
    assert place.held() == set()


def test_a_run_that_goes_on_or_is_not_recorded_here_stays(place: Place) -> None:
    # Given a run that goes on, and one that was stopped and is still to be recorded
    place.deal("aaaaaa")
    place.deal("bbbbbb").order("stop", b"complete")
    before = place.held()
    # When the server is pruned
    pruned = place.prune()
    # Then both stay, whole
    assert (dict(pruned.runs), list(pruned.kept)) == ({}, ["aaaaaa", "bbbbbb"])
    assert place.held() == before


def test_a_run_in_which_nothing_has_happened_for_long_is_removed(place: Place) -> None:
    place.deal("aaaaaa")
    place.deal("bbbbbb").order("stop", b"complete")
    pruned = place.prune(older_than_us=0)
    assert dict(pruned.runs) == {"aaaaaa": "it was abandoned", "bbbbbb": "it was stopped long ago"}
    assert place.held() == set()


def test_a_run_that_is_led_or_closed_is_never_removed(place: Place) -> None:
    # Given runs whose lease is held: by a supervisor, and by the process that records one
    place.deal("aaaaaa")
    place.deal("bbbbbb").order("stop", b"complete")
    place.record("bbbbbb")
    for run in ("aaaaaa", "bbbbbb"):
        assert SupervisorLease(place.data, run, "another").hold(None)
    # When the server is pruned, whatever their age
    pruned = place.prune(older_than_us=0)
    # Then they stay
    assert dict(pruned.runs) == {}
    assert Keys("aaaaaa").orders in place.held()


def test_a_run_whose_robot_is_run_by_an_rq_worker_is_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedServer() as server, Lab(server, tmp_path, monkeypatch) as lab:
        # Given a run without a supervisor, and an RQ worker that runs one of its robots
        place = Place(server.url, tmp_path / "runs")
        StreamRunControl(place.data, "t").deal(run_spec("t", ("r00",)))
        lab.run_robot(beating)
        # When the server is pruned / Then the run stays
        assert dict(place.prune(older_than_us=0).runs) == {}
        # And when the RQ worker is dead, and its lease has run out, then it goes, with its name
        lab.kill_worker()
        place.data.zadd("rq:wip:robots", {lab.leases()[0]: 1})
        place.data.delete("rq:worker:rq-r00")
        pruned = place.prune(older_than_us=0)
        assert (dict(pruned.runs), pruned.workers) == ({"t": "it was abandoned"}, ["rq-r00"])
        left = {key for key in place.held() if not key.startswith(("test:", "rq:clean_registries"))}
        assert {key for key in left if place.data.ttl(key) == -1} == set()


def test_single_keys_of_a_run_that_is_gone_are_removed_once_they_are_not_touched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given keys without orders: of a run that is gone, or of one that is being dealt
    place.data.xadd(Keys("aaaaaa").inbox("r00"), {"copy": 0})
    place.data.xadd(Keys("aaaaaa").fates(0), {"fates": b""})
    # When the server is pruned / Then they stay at first
    assert dict(place.prune().runs) == {}
    # And when they were not touched for a while, then they go
    monkeypatch.setattr(pruning, "idle_s", lambda client, key: (idle_s(client, key) or 0.0) + pruning.ORPHAN_S)
    assert dict(place.prune().runs) == {"aaaaaa": "it is gone"}
    assert place.held() == set()


def test_a_removal_that_was_cut_short_is_finished(place: Place) -> None:
    place.deal("aaaaaa").begin_removal()
    assert dict(place.prune().runs) == {"aaaaaa": "its removal was not finished"}
    assert place.held() == set()


def test_jobs_and_list_entries_of_a_run_that_is_gone_are_removed(place: Place) -> None:
    # Given jobs in the queue, and an entry in the list of runs, without a run
    enqueue_robot(place.server.control, "aaaaaa", "r00")
    place.data.zadd(RUNS, {"bbbbbb": 1})
    # When the server is pruned
    pruned = place.prune()
    # Then they are gone
    assert dict(pruned.runs) == {"aaaaaa": "it is gone", "bbbbbb": "it is gone"}
    assert place.held() == set()


def test_what_is_none_of_ours_stays(place: Place) -> None:
    # Given keys, jobs and RQ workers of others on the same server
    place.data.set("shop:basket", "1")
    place.data.hset("rq:job:mail-7", "data", "x")
    place.data.sadd("rq:workers", "rq:worker:mailer")
    place.data.hset("rq:worker:mailer", "state", "idle")
    place.data.rpush("rq:queue:mail", "mail-7")
    before = place.held()
    # When the server is pruned
    place.prune(older_than_us=0)
    # Then they are as they were
    assert place.held() == before
    assert place.data.ttl("rq:worker:mailer") == -1


def test_the_command_reports_what_it_removed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.deal("aaaaaa").order("stop", b"complete")
    place.record("aaaaaa")
    where = ["--redis-url", place.url, "--runs-dir", str(place.runs)]
    with pytest.raises(SystemExit) as ended:
        main(["runs", "--prune", "--json", *where])
    removed = json.loads(capsys.readouterr().out)
    assert (ended.value.code, removed["runs"]) == (0, [{"run": "aaaaaa", "reason": f"it is recorded in {place.runs}/"}])
    with pytest.raises(SystemExit):
        main(["runs", "--prune", "--older-than", "soon", *where])
    assert "--older-than: 'soon' is not a time" in capsys.readouterr().err


def test_a_right_that_the_user_lacks_is_named_and_what_this_host_has_left_is_removed_all_the_same(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a user that may not walk through a server's keys, and on this host a live.json of a dead parent
    place.data.execute_command("ACL", "SETUSER", "lab", "on", ">word", "~*", "&*", "+@all", "-scan")
    left = place.runs / "aaaaaa" / "live.json"
    left.parent.mkdir(parents=True)
    url = place.url.replace("unix://", "unix://lab:word@")
    for options in ((), ("--json",)):
        left.write_text(json.dumps({"control": "redis://h", "data": "redis://h", "pid": 2**22 + 1}))
        # When that user prunes the server
        with pytest.raises(SystemExit) as ended:
            main(["runs", "--prune", *options, "--redis-url", url, "--runs-dir", str(place.runs)])
        # Then the right is named, and the server is not said to be away
        printed = capsys.readouterr()
        line = "robots: runs --prune needs a right that this user lacks: scan (ACL: +scan)\n"
        assert (ended.value.code, printed.err) == (4, line)
        # And this host's part is done, and told
        assert not left.exists()
        assert str(left) in printed.out
    # And with nothing left here, nothing is claimed of the server
    with pytest.raises(SystemExit):
        main(["runs", "--prune", "--redis-url", url, "--runs-dir", str(place.runs)])
    assert capsys.readouterr().out == ""
