"""`robots faults` as a person meets it: which run is meant, complaints, requests that come into force, the wait."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from waiting import await_true

from broker.control_entries import Birth, PlanChange, Planned, encode_control
from broker.faults.grammar import parse_lines
from broker.faults.schedule import timed
from broker.faults.scheduler import Conductor
from broker.ports.run import Dealing
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamDesk
from broker.streams.run.plan_log import StreamRequests
from deploy.attach import live_plan as asking
from deploy.attach.discovery import Whereabouts, find_live
from deploy.commands import main
from deploy.errors import Unable, Unfit
from telemetry.record.folder import NoSuchRun

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent
PLAN = "loss 0.2; duplicate 0.1; partition hold r00|r01 @1h+3s"
SPLIT = {"instance": 2, "fault": "partition hold r00|r01"}
FOR_US = 60_000_000
URL = "unix:///nowhere/redis.sock"

_runs = count()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROBOTS_RUNS_DIR", raising=False)
    monkeypatch.delenv("ROBOTS_REDIS_URL", raising=False)
    return tmp_path


def announce(place: Path, run: str, url: str = URL, pid: int | None = None) -> Path:
    """A folder of a run that is live, as far as can be seen from outside."""
    folder = place / "runs" / run
    folder.mkdir(parents=True)
    (folder / "live.json").write_text(json.dumps({"url": url, "pid": os.getpid() if pid is None else pid}))
    settings = {"run": run, "for_us": FOR_US, "plan": [line.text() for line in parse_lines(PLAN)]}
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


class Lab:
    """A run whose conductor and relays are a thread of this test. Relays of `silent` shards meet nothing."""

    def __init__(self, server: EmbeddedServer, place: Path, shards: int, silent: tuple[int, ...] = ()) -> None:
        self.run = f"f{next(_runs):05d}"
        self.url = server.url
        self.client = connect(server.url)
        self.keys = Keys(self.run)
        self.desk = StreamDesk(self.client, self.run)
        self.conductor = Conductor(timed(parse_lines(PLAN)), FOR_US)
        self.folder = announce(place, self.run, server.url)
        self._shards = shards
        self._silent = silent
        robots = {f"r{number:02d}": [b"header"] for number in range(4)}
        self.desk.deal(Dealing(self.run, shards, self.conductor.first, robots, b"terms"))
        for shard in range(shards):
            self._meet(shard, "0-1", self.conductor.first)
            self.client.xadd(self.keys.control(shard), {"x": encode_control(Birth("r00", 1, "nonce"))}, id="1-1")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._conduct)

    def start(self) -> None:
        """Give the order go, and conduct from now on."""
        self.desk.order("go")
        self.began = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.client.close()

    def put(self, change: PlanChange) -> None:
        """Into every outbox; the relays that are there meet it at once."""
        for shard in range(self._shards):
            entry = self.client.xadd(self.keys.outbox(shard), {"x": encode_control(change)}).decode()
            self._meet(shard, entry, change)

    def requests(self) -> list[str]:
        return [request.words for request in StreamRequests(self.client, self.run).read()]

    def _meet(self, shard: int, entry: str, change: PlanChange) -> None:
        if shard not in self._silent:
            self.client.xadd(self.keys.control(shard), {"x": encode_control(change)}, id=entry)

    def _conduct(self) -> None:
        while not self._stop.wait(0.005):
            for request in self.desk.requests():
                now_us = round((time.monotonic() - self.began) * 1e6)
                self.put(self.conductor.answer(request.entry, request.words, now_us))


@pytest.fixture
def lab(server: EmbeddedServer, place: Path) -> Iterator[Lab]:
    lab = Lab(server, place, shards=2)
    lab.start()
    yield lab
    lab.close()


class Said:
    """What a command left behind: exit code, standard output, standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def complaint(self) -> str:
        """The one line on standard error; nothing else was said."""
        assert (self.out, self.err.count("\n")) == ("", 1), (self.out, self.err)
        return self.err

    @property
    def row(self) -> Any:
        assert (self.code, self.err, self.out.count("\n")) == (0, "", 1), (self.out, self.err)
        return json.loads(self.out)


class Terminal:
    """Another terminal of the same person."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def faults(self, *arguments: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(["faults", *arguments])
        told = self._capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, told.out, told.err)


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capfd)


# Which run is meant.


def test_the_newest_live_run_is_meant_when_none_is_named(place: Path) -> None:
    # Given a run that ended, one whose parent was killed, and two that are live
    (place / "runs" / "ended").mkdir(parents=True)
    announce(place, "killed", pid=gone())
    older = announce(place, "older")
    os.utime(older / "live.json", ns=(1, 1))
    newer = announce(place, "newer")
    (place / "runs" / "latest").symlink_to("ended")

    found = find_live(Path("runs"), None, None)

    assert (found.run, found.url, found.folder) == ("newer", URL, newer)


@pytest.mark.parametrize("name", ["7b08e1", "7b0", "runs/7b08e1", "latest"])
def test_a_live_run_is_found_by_each_of_its_names(place: Path, name: str) -> None:
    folder = announce(place, "7b08e1")
    announce(place, "7c0000")
    (place / "runs" / "latest").symlink_to("7b08e1")

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
def test_a_name_that_means_no_live_run_is_complained_of(place: Path, name: str | None, words: str) -> None:
    for run in ("ended", "ended2"):
        (place / "runs" / run).mkdir(parents=True)
    announce(place, "killed", pid=gone())

    with pytest.raises(NoSuchRun, match=words):
        find_live(Path("runs"), name, None)


def test_without_a_folder_of_runs_none_is_live(place: Path) -> None:
    with pytest.raises(NoSuchRun, match="no run is live in runs/"):
        find_live(Path("runs"), None, None)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b'{"url": 5, "pid": 1}', b'{"url": "http://x", "pid": 1}', b'{"url": "redis://x"}'],
)
def test_a_damaged_live_json_is_told_when_there_is_no_better_one(place: Path, content: bytes) -> None:
    # Given a run whose live.json is damaged
    (announce(place, "damaged") / "live.json").write_bytes(content)

    for name in ("damaged", None):
        with pytest.raises(Unable, match=r"runs/damaged/live\.json is damaged"):
            find_live(Path("runs"), name, None)

    # When there is another run, whole and live, then that is found
    announce(place, "whole")
    assert find_live(Path("runs"), None, None).run == "whole"


def test_a_live_json_that_cannot_be_read_is_told(place: Path) -> None:
    live = announce(place, "foreign") / "live.json"
    live.unlink()
    live.mkdir()  # whoever runs the tests may read every file

    with pytest.raises(Unable, match="only who started a run can reach it"):
        find_live(Path("runs"), "foreign", None)


@pytest.mark.parametrize("pid", [0, -1, 1 << 80])
def test_no_process_is_taken_for_a_living_parent(place: Path, pid: int) -> None:
    announce(place, "odd", pid=pid)

    with pytest.raises((NoSuchRun, Unable)):
        find_live(Path("runs"), "odd", None)


def test_a_run_of_another_host_is_found_by_server_and_id(server: EmbeddedServer, lab: Lab, place: Path) -> None:
    found = find_live(Path("elsewhere"), lab.run, server.url)

    assert (found.run, found.url, found.folder) == (lab.run, server.url, None)
    assert find_live(Path("runs"), lab.run, server.url).folder == lab.folder


def test_on_a_server_a_run_is_named_by_its_id_or_a_prefix_or_is_the_newest_that_is_live(place: Path) -> None:
    with EmbeddedServer() as server, connect(server.url) as client:
        # Given three runs on a server, dealt one after the other, and the last one is over
        for run in ("abc001", "abd002", "abe003"):
            desk = StreamDesk(client, run)
            desk.deal(Dealing(run, 1, PlanChange(()), {"r00": [b"header"]}, b"terms"))
        desk.order("stop")

        # When somebody means one of them / Then it is found
        for name, run in ((None, "abd002"), ("latest", "abd002"), ("abc", "abc001"), ("abe003", "abe003")):
            assert find_live(Path("runs"), name, server.url) == Whereabouts(run, server.url, None)
        # or said why not
        for name, error, words in (
            ("ab", NoSuchRun, "means 3 runs on the server: abc001, abd002, abe003"),
            ("x", NoSuchRun, "holds no run 'x'"),
            ("runs/abc001", Unfit, "named by its id"),
        ):
            with pytest.raises(error, match=words):
                find_live(Path("runs"), name, server.url)

        # And when none is live, that is said
        for run in ("abc001", "abd002"):
            StreamDesk(client, run).order("stop")
        with pytest.raises(NoSuchRun, match="no run is live on the server"):
            find_live(Path("runs"), None, server.url)


def test_a_run_that_the_server_does_not_hold_is_complained_of(
    server: EmbeddedServer, place: Path, terminal: Terminal
) -> None:
    said = terminal.faults("show", "nobody", "--redis-url", server.url)

    assert (said.code, "'nobody'" in said.complaint) == (2, True)


@pytest.mark.parametrize(
    ("url", "code", "word"), [("http://x", 2, "redis://"), ("redis://127.0.0.1:1", 4, "127.0.0.1:1")]
)
def test_a_server_that_will_not_do_is_one_line(place: Path, terminal: Terminal, url: str, code: int, word: str) -> None:
    said = terminal.faults("heal", "7b08e1", "--redis-url", url)

    assert (said.code, word in said.complaint) == (code, True)


def test_a_live_run_whose_server_is_away_is_one_line(place: Path, terminal: Terminal) -> None:
    announce(place, "7b08e1")

    said = terminal.faults("show")

    assert (said.code, "/nowhere/redis.sock" in said.complaint) == (4, True)


# What is complained of before the run hears of it.


BAD = [
    (["set", "loss 1.2"], "a probability from 0 to 1"),
    (["set", "los .2"], "did you mean loss"),
    (["set", "los", ".2"], "did you mean loss"),
    (["set", " ; "], "'loss .5'"),
    (["set", "loss", "1.5"], "a probability from 0 to 1"),
    (["set", "loss .5 r04"], "r00 to r03"),
    (["set", "loss .5 @2m+1s every 5s"], "--for"),
    (["set", "; ".join(f"loss .123456 r00,r02>r01,r03 @{number}s" for number in range(200))], "4096"),
    (["set", "loss .5", "{run}", "surplus"], "'surplus'"),
    (["set"], "requires"),
    (["clear", "reorder"], "loss 0.2 (#0), duplicate 0.1 (#1), partition hold r00|r01 (#2)"),
    (["clear", "partition r00|r01"], "neither in force nor to come"),
    (["clear", "#7"], "neither in force nor to come"),
    (["clear", "loss .3"], "neither in force nor to come"),
    (["clear", "heal"], "neither in force nor to come"),
    (["clear", ""], "neither in force nor to come"),
    (["clear", "loss", "{run}", "surplus"], "'surplus'"),
    (["heal", "{run}", "surplus"], "surplus"),
    (["show", "--colour", "red"], "--colour"),
    (["mend"], "mend"),
]


@pytest.mark.parametrize(("arguments", "word"), BAD, ids=[" ".join(bad[0])[:40] for bad in BAD])
def test_a_bad_request_is_one_line_and_the_run_does_not_hear_of_it(
    lab: Lab, terminal: Terminal, arguments: list[str], word: str
) -> None:
    said = terminal.faults(*(argument.format(run=lab.run) for argument in arguments))

    assert (said.code, word in said.complaint) == (2, True), said.err
    assert not lab.client.exists(lab.keys.requests)


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["set", "loss", ".5"], 'robots faults set "loss .5"'),
        (["set", "loss", ".5", "r03"], 'robots faults set "loss .5 r03"'),
        (["set", "loss", ".5", "7b08e1"], 'robots faults set "loss .5" 7b08e1'),
        (["set", "burst-loss", ".3", "5", "@2s+3s"], 'robots faults set "burst-loss .3 5 @2s+3s"'),
        (["clear", "loss", ".5"], 'robots faults clear "loss .5"'),
        (["clear", "loss", ".5", "r03"], 'robots faults clear "loss .5 r03"'),
        (["clear", "loss", ".5", "r03", "7b08e1"], 'robots faults clear "loss .5 r03" 7b08e1'),
    ],
)
def test_forgotten_quotes_are_recognised(place: Path, terminal: Terminal, arguments: list[str], right: str) -> None:
    said = terminal.faults(*arguments)

    assert (said.code, said.complaint) == (2, f"robots: a fault is one text; write it in quotes: {right}\n")


def test_nothing_in_force_is_said_as_it_is(lab: Lab, terminal: Terminal) -> None:
    terminal.faults("heal")
    terminal.faults("clear", "partition")

    assert "nothing is" in terminal.faults("clear", "loss").complaint


# Requests that come into force.


def test_what_is_set_is_in_force_at_every_relay_when_the_command_ends(lab: Lab, terminal: Terminal) -> None:
    row = terminal.faults("set", "loss .9;delay 20ms r03", "--json").row

    assert row["run"] == lab.run
    assert [fault["fault"] for fault in row["old"]] == ["loss 0.2", "duplicate 0.1"]
    assert sorted(fault["fault"] for fault in row["new"]) == ["delay 20ms r03", "duplicate 0.1", "loss 0.9"]
    assert (row["relays"], row["to_come"]) == (2, [])
    assert 0 < row["seconds"] < 2
    assert lab.requests() == ["set loss 0.9; delay 20ms r03"]
    for shard in range(2):
        [(_, fields)] = lab.client.xrevrange(lab.keys.control(shard), count=1)
        assert row["request"].encode() in fields[b"x"]


def test_people_are_told_old_and_new_and_how_long_it_took(lab: Lab, terminal: Terminal) -> None:
    said = terminal.faults("set", "loss .9")

    plan, took = said.out.splitlines()
    assert (said.code, said.err) == (0, "")
    assert plan == "plan: loss 0.2, duplicate 0.1 → loss 0.9, duplicate 0.1"
    assert took.startswith("in force at 2 relays after ")
    assert took.endswith(" ms")


@pytest.mark.parametrize("what", ["loss", "loss .20", "#0", "0"])
def test_a_fault_is_cleared_by_name_by_text_or_by_number(lab: Lab, terminal: Terminal, what: str) -> None:
    said = terminal.faults("clear", what, lab.run)

    assert said.out.splitlines()[0] == "plan: loss 0.2, duplicate 0.1 → duplicate 0.1"


def test_heal_ends_what_has_begun(lab: Lab, terminal: Terminal) -> None:
    said = terminal.faults("heal", f"runs/{lab.run}")

    assert said.out.splitlines()[0] == "plan: loss 0.2, duplicate 0.1 → calm"
    assert lab.requests() == ["heal"]
    row = terminal.faults("show", "--json").row
    assert row["in_force"] == []
    assert [change["begin"] for change in row["to_come"]] == [[SPLIT], []]


def test_heal_tells_what_is_still_to_come_and_how_to_cancel_it(lab: Lab, terminal: Terminal) -> None:
    # Given a fault that was set for later, beside the plan's own dated one
    terminal.faults("set", "delay 5ms @20s+1s; loss .3 @50s")

    # When everything is healed
    lines = terminal.faults("heal").out.splitlines()

    # Then what has not begun is told, the next one first, with a number by which it can be cancelled
    assert [line.partition(", in ")[0] for line in lines[2:5]] == [
        "still to come: #3 delay 5ms",
        "still to come: #4 loss 0.3",
        "still to come: #2 partition hold r00|r01",
    ]
    assert lines[5] == f"cancel one with: robots faults clear '#3' {lab.run}"
    assert terminal.faults("clear", "#3", lab.run).code == 0
    left = terminal.faults("heal", "--json").row["to_come"]
    assert [fault["instance"] for fault in left] == [4, 2]
    assert 0 < left[0]["in_s"] < 50
    # And when nothing is left, nothing is said
    terminal.faults("clear", "loss")
    terminal.faults("clear", "partition")
    assert len(terminal.faults("heal").out.splitlines()) == 2


@pytest.mark.parametrize("what", ["partition", "partition hold r00|r01", "#2", "2"])
def test_what_is_still_to_come_can_be_cancelled(lab: Lab, terminal: Terminal, what: str) -> None:
    said = terminal.faults("clear", what)

    assert said.out.splitlines()[0] == "plan: loss 0.2, duplicate 0.1 → loss 0.2, duplicate 0.1"
    assert terminal.faults("show", "--json").row["to_come"] == []


def test_a_healing_that_is_still_to_come_can_be_cancelled(lab: Lab, terminal: Terminal) -> None:
    terminal.faults("set", "heal @1h")

    assert terminal.faults("clear", "heal").code == 0
    assert [change["end"] for change in terminal.faults("show", "--json").row["to_come"]] == [[], [SPLIT]]


def test_what_is_refused_is_an_error_with_the_reason(lab: Lab, terminal: Terminal) -> None:
    # Given a plan with room for one more line
    for _ in range(4):
        terminal.faults("set", "; ".join(["delay 0ms r03"] * 63))

    # When two more are asked for
    said = terminal.faults("set", "loss .3 r03; loss .4 r03")

    # Then that is no success, and the plan is what it was
    assert said.code == 2
    assert f"run {lab.run} refused it: " in said.complaint
    assert "a plan of 256 lines and 32768 characters in all; clear some before" in said.complaint
    row = terminal.faults("show", "--json").row
    assert "loss 0.3 r03" not in [fault["fault"] for fault in row["in_force"]]
    # And what fits is given the number that was left
    assert terminal.faults("set", "loss .5 r03", "--json").row["new"][-1] == {"instance": 255, "fault": "loss 0.5 r03"}


@pytest.mark.parametrize("words", ["nonsense", "set loss 2", "\x1b[2Jset\n loss 2", "set \x9b31mloss"])
def test_after_a_refused_request_what_is_to_come_is_still_known(lab: Lab, terminal: Terminal, words: str) -> None:
    # Given a request by hand that is none, and a good one after it
    StreamRequests(lab.client, lab.run).ask(words)
    terminal.faults("set", "loss .9 @20s")

    # Then what is to come is what the run's own conductor has in mind, and nothing harms a terminal
    said = terminal.faults("show")
    assert "begins: #3 loss 0.9" in said.out
    assert said.out.replace("\n", "").isprintable()


def test_what_stands_on_the_server_cannot_harm_a_terminal(lab: Lab, terminal: Terminal) -> None:
    # Given a plan, and later the end of the run, that somebody put on the server by hand
    evil = "loss\x1b]0;me\x07 0.2\u202e\n" + "x" * 300
    lab.put(PlanChange((Planned(0, evil),)))
    assert r"loss\x1b]0;me\x07 0.2\u202e\nxxx" in terminal.faults("show").out

    for arguments in (["show"], ["set", "loss .9"], ["clear", "lo"]):
        said = terminal.faults(*arguments)
        assert (said.out + said.err).replace("\n", "").isprintable()
    lab.desk.order("stop", evil.encode())
    for command in ("show", "heal"):
        said = terminal.faults(command)
        assert (said.out + said.err).replace("\n", "").isprintable()


def test_a_refusal_that_somebody_wrote_by_hand_cannot_harm_a_terminal(
    server: EmbeddedServer, place: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(server, place, shards=1)
    ask = StreamRequests.ask

    def and_refuse(self: StreamRequests, words: str) -> str:
        request = ask(self, words)
        lab.put(PlanChange((), request, words, "\x1b[2Jno\r"))
        return request

    monkeypatch.setattr(StreamRequests, "ask", and_refuse)

    said = terminal.faults("heal")

    assert (said.code, said.complaint) == (2, f"robots: run {lab.run} refused it: \\x1b[2Jno\\r\n")
    lab.close()


def test_a_dated_request_counts_from_now_and_says_so(lab: Lab, terminal: Terminal) -> None:
    said = terminal.faults("set", "loss .9 @20s+3s; duplicate .3")

    plan, _, begins = said.out.splitlines()
    assert plan == "plan: loss 0.2, duplicate 0.1 → loss 0.2, duplicate 0.3"
    assert begins == "begins in 20s: loss 0.9 @20s+3s"
    row = terminal.faults("show", "--json").row
    begin, end = row["to_come"][:2]
    late = {"instance": 3, "fault": "loss 0.9"}
    assert (begin["begin"], end["end"]) == ([late], [late])
    assert 0 < begin["at_s"] - row["now_s"] <= 20
    assert end["at_s"] - begin["at_s"] == pytest.approx(3)


def test_a_request_that_changes_nothing_is_answered_all_the_same(lab: Lab, terminal: Terminal) -> None:
    row = terminal.faults("set", "reorder 0", "--json").row

    assert row["old"] == row["new"]


def test_changes_of_others_in_between_are_not_taken_for_the_answer(
    lab: Lab, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a change of the plan's own that is met after the request was stored, before its answer
    ask = StreamRequests.ask

    def with_another(self: StreamRequests, words: str) -> str:
        lab.put(PlanChange((), "", ""))
        return ask(self, words)

    monkeypatch.setattr(StreamRequests, "ask", with_another)

    # When something is asked, then `old` is what was in force right before the answer
    row = terminal.faults("clear", "loss", "--json").row
    assert row["old"] == []
    assert [fault["fault"] for fault in row["new"]] == ["duplicate 0.1"]


def test_a_run_of_another_host_is_changed_by_server_and_id(
    server: EmbeddedServer, lab: Lab, terminal: Terminal
) -> None:
    where = (lab.run, "--redis-url", server.url, "--runs-dir", "elsewhere", "--json")

    assert terminal.faults("clear", "loss", *where).row["relays"] == 2
    assert terminal.faults("show", *where).row["to_come"] is None
    # And what is dated in a plan that is not known here can be cancelled all the same
    assert terminal.faults("clear", "partition", *where).code == 0
    assert terminal.faults("show", lab.run, "--json").row["to_come"] == []
    assert terminal.faults("heal", *where).row["to_come"] is None
    assert "what is dated to begin later still does; not known here" in terminal.faults("heal", *where[:-1]).out
    assert "neither" in terminal.faults("clear", "los", *where).complaint


# Nobody there.


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WAIT_S", 0.2)


def test_without_a_conductor_the_wait_ends_in_one_line(
    server: EmbeddedServer, place: Path, terminal: Terminal, hasty: None
) -> None:
    # Given a run that nobody conducts
    lab = Lab(server, place, shards=1)

    # When a change is asked for
    began = time.monotonic()
    said = terminal.faults("set", "loss .9")

    # Then it is said soon, and that the request stands
    assert (said.code, time.monotonic() - began < 2) == (4, True)
    assert f"nobody conducts run {lab.run}" in said.complaint
    assert lab.requests() == ["set loss 0.9"]
    lab.close()


def test_a_relay_that_meets_nothing_is_named(
    server: EmbeddedServer, place: Path, terminal: Terminal, hasty: None
) -> None:
    lab = Lab(server, place, shards=3, silent=(1,))
    lab.start()

    said = terminal.faults("clear", "loss")

    assert (said.code, "in force at 2 of 3 relays" in said.complaint) == (4, True)
    assert "at relay 1" in said.err
    [cleared] = [fault for fault in terminal.faults("show", "--json").row["in_force"] if fault["instance"] == 1]
    assert cleared["relays"] == [0, 2]  # relay 1 has met nothing at all
    lab.close()


def test_a_run_that_is_ending_is_not_asked_any_more(lab: Lab, terminal: Terminal) -> None:
    lab.desk.order("stop", b"complete")

    said = terminal.faults("heal")

    assert (said.code, lab.requests()) == (2, [])
    assert f"run {lab.run} is over (complete); judge it with: robots verify {lab.run}" in said.complaint
    assert "ending: complete" in terminal.faults("show").out


def test_a_run_that_ends_while_one_waits_is_told_from_a_run_without_a_conductor(
    server: EmbeddedServer, place: Path, terminal: Terminal, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(server, place, shards=1)
    ask = StreamRequests.ask

    def and_stop(self: StreamRequests, words: str) -> str:
        lab.desk.order("stop", b"complete")
        return ask(self, words)

    monkeypatch.setattr(StreamRequests, "ask", and_stop)

    said = terminal.faults("heal")

    assert (said.code, "is over (complete)" in said.complaint) == (2, True)
    lab.close()


def test_an_interrupted_wait_ends_without_a_word(server: EmbeddedServer, place: Path) -> None:
    # Given a run that nobody conducts, and a command that waits for its relay
    lab = Lab(server, place, shards=1)
    command = [
        sys.executable,
        "-c",
        "from deploy import asking; asking.WAIT_S = 30\nfrom deploy.entry import main\nmain()",
    ]
    with subprocess.Popen(
        [*command, "faults", "heal"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as waiting:
        try:
            await_true(lab.requests, what="the request")

            # When the person interrupts it
            waiting.send_signal(signal.SIGINT)
            out, err = waiting.communicate(timeout=10)
        finally:
            waiting.kill()

    # Then it ends at once and says nothing
    assert (waiting.returncode, out, err) == (130, b"", b"")
    lab.close()


# What there is to see.


def test_show_tells_what_is_in_force_since_when_and_what_is_to_come(lab: Lab, terminal: Terminal) -> None:
    # Given a fault that was set after go
    terminal.faults("set", "loss .9")

    # When a person looks
    row = terminal.faults("show", "--json").row

    # Then each fault has its number and its beginning, and the plan's own dated one is announced
    duplicate, loss = row["in_force"]
    assert (duplicate["instance"], duplicate["fault"], duplicate["since_s"]) == (1, "duplicate 0.1", None)
    assert (loss["instance"], loss["fault"], loss["relays"]) == (3, "loss 0.9", [0, 1])
    assert 0 <= loss["since_s"] <= row["now_s"] < 60
    assert row["to_come"] == [
        {"at_s": 3600.0, "begin": [SPLIT], "end": []},
        {"at_s": 3603.0, "begin": [], "end": [SPLIT]},
    ]


def test_show_is_readable(lab: Lab, terminal: Terminal) -> None:
    lines = terminal.faults("show", lab.run).out.splitlines()

    assert lines[0].startswith(f"run {lab.run}  ")
    assert lines[0].endswith(" s after go  2 relays")
    assert lines[1:4] == [
        "in force",
        "  #0   loss 0.2       since the deal",
        "  #1   duplicate 0.1  since the deal",
    ]
    assert lines[4] == "to come"
    assert lines[5].endswith("3600.0 s after go  begins: #2 partition hold r00|r01")


def test_what_comes_again_and_again_is_cut_short(lab: Lab, terminal: Terminal) -> None:
    terminal.faults("set", "loss .9 @1s+10ms every 20ms")

    lines = terminal.faults("show").out.splitlines()

    assert lines[-1] == "  and perhaps more"
    assert len(lines) < 30


def test_a_run_that_is_not_dealt_yet_is_told_from_one_that_is_over(
    server: EmbeddedServer, place: Path, terminal: Terminal
) -> None:
    announce(place, "early", server.url)

    assert "run early is not dealt on its server, or not yet" in terminal.faults("show").complaint


def test_looking_changes_nothing(lab: Lab, terminal: Terminal) -> None:
    def streams() -> dict[bytes, bytes]:
        return {key: lab.client.dump(key) for key in lab.client.scan_iter(f"*{lab.run}*")}

    before = streams()

    terminal.faults("show")

    assert streams() == before


def test_garbage_in_orders_and_controls_is_passed_over(lab: Lab, terminal: Terminal) -> None:
    lab.client.xadd(lab.keys.orders, {"o": "dance"})
    lab.client.xadd(lab.keys.orders, {"d": b"\xc1", "x": "y"})
    lab.client.xadd(lab.keys.control(0), {"x": b"\xc1garbage"})
    lab.client.xadd(lab.keys.control(1), {"nothing": "at all"})

    assert len(terminal.faults("show", "--json").row["in_force"]) == 2
    assert terminal.faults("heal", "--json").row["new"] == []


def test_before_go_nothing_is_dated_from_it(server: EmbeddedServer, place: Path, terminal: Terminal) -> None:
    lab = Lab(server, place, shards=1)
    lab.put(lab.conductor.answer("1-1", "set loss 0.9", -1))

    row = terminal.faults("show", "--json").row

    assert (row["now_s"], [fault["fault"] for fault in row["in_force"]]) == (None, ["duplicate 0.1", "loss 0.9"])
    assert "since before go" in terminal.faults("show").out
    lab.close()


def test_settings_that_cannot_be_read_only_hide_what_is_to_come(lab: Lab, terminal: Terminal) -> None:
    for content in (
        b"{",
        b'{"plan": 5, "for_us": 1}',
        b'{"plan": ["\xff"], "for_us": 1}',
        b'{"plan": ["noise 3"], "for_us": 1}',
        b'{"plan": ["loss 0.2"], "for_us": 1, "instances": []}',
        b'{"plan": ["loss 0.2"], "for_us": 1, "instances": [-1]}',
    ):
        (lab.folder / "settings.json").write_bytes(content)

        assert terminal.faults("show", "--json").row["to_come"] is None
    assert "not known here" in terminal.faults("show").out


def test_faults_to_come_bear_the_numbers_that_the_run_gave_them(
    server: EmbeddedServer, place: Path, terminal: Terminal
) -> None:
    # Given a run whose plan has numbers of an earlier run
    lab = Lab(server, place, shards=1)
    path = lab.folder / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"instances": [4, 9, 7]}))
    lab.put(PlanChange((Planned(4, "loss 0.2"), Planned(9, "duplicate 0.1")), "5-1", "set delay 5ms @1m"))

    # When a person looks
    row = terminal.faults("show", "--json").row

    # Then what is dated has its own number, and what was asked for the next one
    assert [change["begin"][0]["instance"] for change in row["to_come"] if change["begin"]] == [10, 7]
    assert "(#7)" in terminal.faults("clear", "corrupt").complaint
    lab.close()


@pytest.mark.parametrize("command", [[], ["show"], ["set"], ["clear"], ["heal"]])
def test_every_command_has_help(terminal: Terminal, command: list[str]) -> None:
    said = terminal.faults(*command, "--help")

    assert (said.code, said.err) == (0, "")
    assert "robots faults" in said.out
    assert command == [] or "--runs-dir" in said.out


# A real run.


@pytest.fixture
def live_run(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run of the whole lab, with two relays, that goes on for eight seconds."""
    command = [
        sys.executable,
        "-m",
        "deploy",
        "run",
        "-n",
        "4",
        "--for",
        "8s",
        "--seed",
        "3",
        "--relays",
        "2",
        "--json",
    ]
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        try:
            yield run
        finally:
            run.terminate()
            run.communicate(timeout=30)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux")
def test_a_live_run_is_changed_from_another_process_and_still_judged(
    live_run: subprocess.Popen[bytes], place: Path, terminal: Terminal
) -> None:
    # Given a run that has begun
    def has_begun() -> bool:
        if not list(place.glob("runs/*/live.json")):
            return False
        said = terminal.faults("show", "--json")
        return said.code == 0 and json.loads(said.out)["now_s"] is not None

    await_true(has_begun, seconds=30, what="the run's beginning")

    # When its faults are changed, one after the other
    answers = [terminal.faults("set", "loss .9", "--json").row]
    shown = terminal.faults("show", "--json").row
    answers.append(terminal.faults("clear", "loss", "--json").row)
    answers.append(terminal.faults("set", "corrupt .2; throttle 50/s r03", "--json").row)
    answers.append(terminal.faults("set", "partition hold r00|r01 @100ms+300ms", "--json").row)
    answers.append(terminal.faults("heal", "--json").row)

    # Then each change is in force at both relays, mostly within 200 ms
    assert "loss 0.9" in [fault["fault"] for fault in shown["in_force"]]
    assert statistics.median(answer["seconds"] for answer in answers) <= 0.2
    assert [answer["relays"] for answer in answers] == [2] * 5
    assert "loss 0.9" in [fault["fault"] for fault in answers[1]["old"]]
    assert answers[4]["new"] == []
    # And the run comes to its end, and its promises hold
    out, _ = live_run.communicate(timeout=55)
    result = json.loads(out)
    assert (live_run.returncode, result["verdict"]) == (0, "HELD"), result["promises"]
    # And the record tells who asked for what, and which faults that gave, alike in both outboxes
    plan = rows(place / "runs" / "latest" / "plan.jsonl")
    asked = [[row for row in plan if row.get("words") and row["shard"] == shard] for shard in range(2)]
    assert [row["words"] for row in asked[0]] == [
        "set loss 0.9",
        "clear loss",
        "set corrupt 0.2; throttle 50/s r03",
        "set partition hold r00|r01 @100ms+300ms",
        "heal",
    ]
    assert [row["request"] for row in asked[0]] == [answer["request"] for answer in answers]
    for row, twin, answer in zip(*asked, answers, strict=True):
        assert row["faults"] == twin["faults"] == answer["new"]
    # And nobody can change it any more
    assert f"robots verify {shown['run']}" in terminal.faults("heal", shown["run"]).complaint
    assert "no run is live" in terminal.faults("heal").complaint
