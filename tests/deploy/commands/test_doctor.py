"""`robots doctor`: a line for each check, an exit code, and JSON of a shape that is documented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from deploy.doctor import examination
from deploy.doctor.check import Check, size
from deploy.doctor.host_checks import BASE_MEMORY, ROBOT_MEMORY
from tests.support.checkout import ROOT
from tests.support.terminal import Terminal

NOWHERE = ("--redis-url", "redis://lab:hidden@127.0.0.1:1")


@pytest.fixture(autouse=True)
def folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.setenv("PYTHONUTF8", "1")
    return here


def test_each_check_is_one_line_and_the_last_one_is_whether_a_run_works(folder: Path, terminal: Terminal) -> None:
    done = terminal.do("doctor")

    *lines, summary = done.out.splitlines()
    assert [line.split()[1] for line in lines][:4] == ["python", "server", "temporary", "records"]
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}
    assert (done.code, summary, done.err) == (0, "nothing stops a run of 6 robots here", "")
    assert list(folder.iterdir()) == []


def test_what_stops_a_run_ends_with_exit_code_4_and_has_its_remedy(terminal: Terminal) -> None:
    done = terminal.do("doctor", *NOWHERE)

    lines = done.out.splitlines()
    assert done.code == 4
    assert lines[-1] == "a run of 6 robots does not work here: server"
    assert next(line for line in lines if line.startswith("fault    server ")).endswith("and the network between")
    assert sum(line.startswith("unknown") for line in lines) == 6
    assert "hidden" not in done.out + done.err


def test_the_number_of_robots_comes_from_the_settings(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOTS_ROBOTS", "10000")

    assert f"10000 robots need {size(BASE_MEMORY + 10_000 * ROBOT_MEMORY)}" in terminal.do("doctor").out
    assert f"7 robots need {size(BASE_MEMORY + 7 * ROBOT_MEMORY)}" in terminal.do("doctor", "-n", "7").out


@pytest.mark.parametrize(("state", "code", "usable"), [("unknown", 3, None), ("fault", 4, False), ("warning", 0, True)])
def test_json_is_one_object_that_has_whether_a_run_works(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, state: str, code: int, usable: bool | None
) -> None:
    found = [Check("python", "ok", "fine"), Check("memory", state, "perhaps", "see to it")]  # type: ignore[arg-type]
    monkeypatch.setattr(examination, "results_of", lambda _jobs, _longest_s: found)
    schema = Draft202012Validator(json.loads(terminal.do("schema", "doctor").out))

    done = terminal.do("doctor", "--json")

    row = json.loads(done.out)
    assert (done.code, row["usable"], row["robots"]) == (code, usable, 6)
    assert row["checks"][1] == {"name": "memory", "state": state, "text": "perhaps", "remedy": "see to it"}
    assert list(schema.iter_errors(row)) == []


def test_what_is_not_known_is_named_in_the_last_line(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "results_of", lambda *_: [Check("rights", "unknown", "no answer")])

    done = terminal.do("doctor")

    assert (done.code, done.out.splitlines()[-1]) == (3, "it is not known whether a run of 6 robots works here: rights")


def test_a_text_from_a_server_cannot_harm_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "results_of", lambda *_: [Check("server", "ok", "Redis \x1b[2J\n7")])

    assert "Redis \\x1b[2J\\n7" in terminal.do("doctor").out


def test_a_terminal_that_is_not_utf_8_gets_every_line_and_the_remedy(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy", "doctor"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )

    *_, terminal, _ = done.stdout.splitlines()
    assert terminal.startswith("warning  terminal   the encoding of standard output is ascii: letters such as \\u2026")
    assert "PYTHONUTF8=1" in terminal
    assert done.stderr == ""


def test_a_wrong_setting_is_refused_as_by_every_command(terminal: Terminal) -> None:
    refused = terminal.do("doctor", "--redis-url", "http://h")

    assert refused.code == 2
    assert refused.complaint.startswith("robots: --redis-url: a server's URL begins with")
