"""Which live run a command means, and what is printed when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.control_entries import PlanChange
from broker.ports.run import RunSpec
from broker.streams.address import Address
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.run.control import StreamRunControl
from deploy.attach.discovery import RunLocation, find_live
from deploy.errors import EnvironmentFailure, UsageError
from telemetry.record.folder import NoSuchRun
from tests.deploy.commands.scheduled_run import URL, Lab, announce, gone
from tests.support.terminal import Terminal

pytestmark = pytest.mark.live


def test_the_newest_live_run_is_meant_when_none_is_named(here: Path) -> None:
    # Given a run that ended, one whose parent was killed, and two that are live
    (here / "runs" / "ended").mkdir(parents=True)
    announce(here, "killed", pid=gone())
    older = announce(here, "older")
    os.utime(older / "live.json", ns=(1, 1))
    newer = announce(here, "newer")
    (here / "runs" / "latest").symlink_to("ended")

    found = find_live(Path("runs"), None, None)

    assert (found.run, found.address, found.folder) == ("newer", Address.one(URL), newer)


@pytest.mark.parametrize("name", ["7b08e1", "7b0", "runs/7b08e1", "latest"])
def test_a_live_run_is_found_by_each_of_its_names(here: Path, name: str) -> None:
    folder = announce(here, "7b08e1")
    announce(here, "7c0000")
    (here / "runs" / "latest").symlink_to("7b08e1")

    found = find_live(Path("runs"), name, None)

    assert (found.run, found.folder) == ("7b08e1", folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (None, "robots run"),
        ("ended", "robots verify ended"),
        ("killed", "robots verify killed"),
        ("e", "means 2 runs: ended, ended2"),
        ("x", "no run 'x'"),
        ("./x", "no folder ./x"),
        ("latest", "no run is recorded"),
    ],
)
def test_a_name_that_means_no_live_run_is_complained_of(here: Path, name: str | None, words: str) -> None:
    for run in ("ended", "ended2"):
        (here / "runs" / run).mkdir(parents=True)
        (here / "runs" / run / "settings.json").touch()
    announce(here, "killed", pid=gone())

    with pytest.raises(NoSuchRun, match=words):
        find_live(Path("runs"), name, None)


def test_without_a_folder_of_runs_none_is_live(here: Path) -> None:
    with pytest.raises(NoSuchRun, match="no run is live in runs/"):
        find_live(Path("runs"), None, None)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff", b"[]", b'{"control": "redis://x", "data": 5, "pid": 1}'),
        *(b'{"control": "http://x", "data": "redis://x", "pid": 1}', b'{"control": "redis://x", "data": "redis://x"}'),
    ],
)
def test_a_damaged_live_json_is_reported_when_there_is_no_better_one(here: Path, content: bytes) -> None:
    # Given a run whose live.json is damaged
    (announce(here, "damaged") / "live.json").write_bytes(content)

    for name in ("damaged", None):
        with pytest.raises(EnvironmentFailure, match=r"runs/damaged/live\.json is damaged"):
            find_live(Path("runs"), name, None)

    # When there is another run, whole and live, then that is found
    announce(here, "whole")
    assert find_live(Path("runs"), None, None).run == "whole"


def test_a_live_json_that_cannot_be_read_is_reported(here: Path) -> None:
    live = announce(here, "foreign") / "live.json"
    live.unlink()
    live.mkdir()  # the user who runs the tests may read every file

    with pytest.raises(EnvironmentFailure, match="only its user can reach the run"):
        find_live(Path("runs"), "foreign", None)


@pytest.mark.parametrize("pid", [0, -1, 1 << 80])
def test_no_process_is_taken_for_a_living_parent(here: Path, pid: int) -> None:
    announce(here, "odd", pid=pid)

    with pytest.raises((NoSuchRun, EnvironmentFailure)):
        find_live(Path("runs"), "odd", None)


def test_a_run_of_another_host_is_found_by_server_and_id(server: EmbeddedServer, lab: Lab, here: Path) -> None:
    found = find_live(Path("elsewhere"), lab.run, Address.one(server.url))

    assert (found.run, found.address.data, found.folder) == (lab.run, server.url, None)
    assert find_live(Path("runs"), lab.run, Address.one(server.url)).folder == lab.folder


def test_on_a_server_a_run_is_named_by_its_id_or_a_prefix_or_is_the_newest_that_is_live(here: Path) -> None:
    with EmbeddedServer() as server, connect(server.url) as client:
        # Given three runs on a server, dealt one after the other, and the last one is over
        for run in ("abc001", "abd002", "abe003"):
            run_control = StreamRunControl(client, run)
            run_control.deal(RunSpec(run, 1, PlanChange(()), {"r00": [b"header"]}, b"terms"))
        run_control.order("stop")

        # When somebody means one of them / Then it is found
        for name, run in ((None, "abd002"), ("latest", "abd002"), ("abc", "abc001"), ("abe003", "abe003")):
            assert find_live(Path("runs"), name, Address.one(server.url)) == RunLocation(
                run, Address.one(server.url), None
            )
        # or printed why not
        for name, error, words in (
            ("ab", NoSuchRun, "means 3 runs on the server: abc001, abd002, abe003"),
            ("x", NoSuchRun, "holds no run 'x'"),
            ("runs/abc001", UsageError, "named by its id"),
        ):
            with pytest.raises(error, match=words):
                find_live(Path("runs"), name, Address.one(server.url))

        # And when none is live, that is printed
        for run in ("abc001", "abd002"):
            StreamRunControl(client, run).order("stop")
        with pytest.raises(NoSuchRun, match="no run is live on the server"):
            find_live(Path("runs"), None, Address.one(server.url))


def test_a_run_that_the_server_does_not_hold_is_complained_of(
    server: EmbeddedServer, here: Path, terminal: Terminal
) -> None:
    printed = terminal.faults("show", "absent", "--redis-url", server.url)

    assert (printed.code, "'absent'" in printed.complaint) == (2, True)


@pytest.mark.parametrize(
    ("url", "code", "word"), [("http://x", 2, "redis://"), ("redis://127.0.0.1:1", 4, "127.0.0.1:1")]
)
def test_a_server_that_will_not_do_is_one_line(here: Path, terminal: Terminal, url: str, code: int, word: str) -> None:
    printed = terminal.faults("heal", "7b08e1", "--redis-url", url)

    assert (printed.code, word in printed.complaint) == (code, True)


def test_a_live_run_whose_server_is_away_is_one_line(here: Path, terminal: Terminal) -> None:
    announce(here, "7b08e1")

    printed = terminal.faults("show")

    assert (printed.code, "/nowhere/redis.sock" in printed.complaint) == (4, True)
