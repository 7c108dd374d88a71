"""`robots kill`, `pause`, `resume`, `restart`, `crash`, `runs`, `ps`: what they tell, and their errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.control_entries import PlanChange
from broker.ports.run import RunSpec
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.run.control import StreamRunControl
from broker.streams.run.fleet_log import StreamFleetLog
from deploy.commands import main
from robots.supervision import RestartPolicy
from tests.support.recorded_settings import settings_row


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, result and complaint of a command in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROBOTS_RUNS_DIR", raising=False)
    return tmp_path


@pytest.mark.live
def test_a_robot_whose_deaths_were_not_injected_has_no_budget_left(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a run in which one robot died by itself more often than the policy bears, and another once
    with EmbeddedServer() as server, connect(server.url) as client:
        run_spec = RunSpec("p00001", 1, PlanChange(()), {"r00": [b"header"], "r01": [b"header"]}, b"terms")
        StreamRunControl(client, "p00001").deal(run_spec)
        log, most = StreamFleetLog(client, "p00001"), RestartPolicy().max_restarts
        for life in range(1, most + 2):
            log.death("r00", "r00", life, "exit", 1)
        log.death("rq:r01", "r01", 1, "signal", 9)

        # When somebody looks, at that server or through the run's folder
        live = folder / "runs" / "p00001" / "live.json"
        live.parent.mkdir(parents=True)
        live.write_text(json.dumps({"control": server.url, "data": server.url, "pid": os.getpid()}))
        code, out, _ = called(capsys, "ps", "p00001", "--redis-url", server.url, "--json")
        _, table, _ = called(capsys, "ps")

    # Then the one is spent, and the other has all but one
    spent, hurt = json.loads(out)["robots"]
    assert code == 0
    assert (spent["deaths"], spent["charged"], spent["budget_left"]) == (most + 1, most + 1, 0)
    assert (hurt["deaths"], hurt["charged"], hurt["budget_left"]) == (1, 1, most - 1)

    # And for people the run is named, and every column is aligned with its head
    assert table.startswith("run p00001  waiting for go  2 robots\n")
    head, *rows = table.splitlines()[1:4]
    assert [row[head.index("state") :].split()[0] for row in rows] == ["done", "done"]
    assert [row[head.index("charged") :].split()[0] for row in rows] == [str(most + 1), "1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kill", "foo"], "allowed is a process such as r03, rq:r03, relay"),
        (["kill", "r01; kill r02"], "'r01; kill r02' is more than one process"),
        (["kill", "r01 every 1s"], "'r01 every 1s' is more than one process"),
        (["kill", ""], "allowed is a process"),
        (["kill", "r01>r02"], "allowed is a process"),
        (["kill"], "TARGET"),
        (["pause", "supervisor"], "relay:1, redis or robot (any)"),
        (["resume", "supervisor"], "rq:r03, relay:1 or redis"),
        (["pause", "r01", "--for", "5"], "--for: '5' is not a time"),
        (["pause", "r01", "--for", "0s"], "allowed is a duration above 0"),
        (["pause", "r01", "--for", "1s every 2s"], "--for: '1s every 2s' is not a time"),
        (["resume", "robot"], "allowed is a process that is paused, such as r03, rq:r03, relay:1"),
        (["resume", "r01; kill r02"], "'r01; kill r02' is more than one process"),
        (["resume"], "TARGET"),
        (["resume", "r01"], "no run is live in runs/"),
        (["crash", "r01"], "allowed is r01/ and a worker: inbox_reader"),
        (["crash", "r01/foo"], "allowed is inbox_reader"),
        (["restart", "supervisor"], "relay:1, redis or robot (any)"),
        (["contradict", "rq:r01"], "allowed is a robot such as r03"),
        (["amnesia", "robot"], "allowed is a robot such as r03"),
        (["kill", "r01"], "no run is live in runs/"),
        (["ps"], "no run is live in runs/"),
        (["ps", "abc"], "no run 'abc' is recorded"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_that_prints_what_is_allowed(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code, out, err = called(capsys, *arguments)

    assert code == 2
    assert not out
    assert words in err
    assert err.count("\n") == 1


def record(folder: Path, run: str, began_s: int, **settings: object) -> Path:
    """A recorded run that was dealt at a time."""
    path = folder / "runs" / run
    path.mkdir(parents=True)
    (path / "settings.json").write_text(json.dumps(settings_row(run=run, **settings)))
    (path / "deal.json").touch()
    os.utime(path / "deal.json", (began_s, began_s))
    return path


def test_runs_are_listed_newest_first_whatever_became_of_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Given an old run that was judged, one whose process is gone, a damaged one, a live one, and what is no run
    done = record(folder, "aaaaaa", 1_000, ended="complete", mode="simulated")
    (done / "verdict.json").write_text('{"verdict": "HELD"}')
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    killed = record(folder, "bbbbbb", 2_000)
    (killed / "live.json").write_text(json.dumps({"control": "redis://h", "data": "redis://h", "pid": process.pid}))
    damaged = record(folder, "cccccc", 3_000)
    (damaged / "settings.json").write_text("{")
    live = record(folder, "dddddd", 4_000)
    (live / "live.json").write_text(json.dumps({"control": "redis://h", "data": "redis://h", "pid": os.getpid()}))
    lost = record(folder, "eeeeee", 5_000)
    (lost / "live.json").write_text("{")
    (folder / "runs" / "latest").symlink_to("eeeeee")
    (folder / "runs" / "notes").mkdir()

    # When they are listed
    code, out, _ = called(capsys, "runs", "--json")
    _, table, _ = called(capsys, "runs")

    # Then each stands there once, with what is known of it
    rows = json.loads(out)["runs"]
    assert code == 0
    assert [(row["run"], row["state"]) for row in rows] == [
        ("eeeeee", "unreachable"),
        ("dddddd", "live"),
        ("cccccc", "unfinished"),
        ("bbbbbb", "unfinished"),
        ("aaaaaa", "complete"),
    ]
    assert [row["verdict"] for row in rows] == [None, None, None, None, "HELD"]
    assert rows[2]["robots"] is None
    assert table.splitlines()[-1].split()[:6] == ["aaaaaa", "simulated", "complete", "6", "1", "HELD"]


def test_where_no_run_is_recorded_the_list_is_empty(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "runs", "--json") == (0, '{"runs": []}\n', "")
    assert called(capsys, "runs") == (0, "no run is recorded in runs/ yet\n", "")
