"""The help that people read: groups, types, one line for an option, and nothing loaded that is not needed."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import deploy.commands
from broker.streams.connection import UnsupportedServer
from deploy import errors
from deploy.commands import EXIT_CODES, app
from telemetry.record.folder import NoSuchRun
from tests.support.waiting import DEADLINE_S, await_true

COMMANDS = [name for name in app if not name.startswith("-")]
FAULTS = [f"faults {name}" for name in ("show", "set", "clear", "heal")]
OPTION = re.compile(r"^  (--[\w-]+.*?)(  +)(\S.*)$")


def help_of(command: str, columns: int) -> list[str]:
    out = io.StringIO()
    app.help_print(command.split(), console=Console(file=out, width=columns))
    return out.getvalue().splitlines()


def test_the_commands_stand_in_groups() -> None:
    lines = help_of("", 100)

    titles = [line for line in lines if re.match(r"^\S.*:$", line)]
    assert titles == ["Run it:", "Watch it:", "Harm it:", "On a cluster:", "Judge it:", "Set it up:", "Options:"]
    listed = [line.split()[0] for line in lines if re.match(r"^  [a-z]", line)]
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", ["run", "simulate", "deal"])
def test_the_options_of_a_run_stand_in_groups_with_their_types(command: str) -> None:
    lines = help_of(command, 100)

    titles = [line for line in lines if re.match(r"^[A-Z][\w ]+:$", line)]
    assert titles[:5] == ["Robots and secret:", "Network:", "Deaths:", "Time:", "Output:"]
    text = "\n".join(lines)
    for option in ("--robots, -n N ", "--loss PROBABILITY ", "--for TIME ", "--secret-file FILE ", "--kill PROCESS "):
        assert f"  {option}" in text
    assert "STR" not in text
    assert "[default: 100ms]" in text


@pytest.mark.parametrize("command", ["", *COMMANDS, *FAULTS])
def test_each_option_is_one_line_at_100_columns(command: str) -> None:
    lines = help_of(command, 100)

    options = [number for number, line in enumerate(lines) if OPTION.match(line)]
    assert options or command in ("faults", "schema")
    for number in options:
        follower = lines[number + 1] if number + 1 < len(lines) else ""
        assert not follower.startswith("     "), follower
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", ["", *COMMANDS, *FAULTS])
def test_no_word_is_broken_and_no_line_is_too_wide(command: str, columns: int) -> None:
    unbroken = set(" ".join(help_of(command, 1000)).split())

    lines = help_of(command, columns)

    assert max(map(len, lines)) <= columns
    assert set(" ".join(lines).split()) == unbroken
    assert not any(line.endswith(" ") for line in lines)


def test_the_line_in_the_list_is_the_line_of_the_command() -> None:
    listed = [line.split(maxsplit=1) for line in help_of("", 100) if re.match(r"^  [a-z]", line)]

    for name, line in listed:
        assert help_of(name, 100)[2] == line


@pytest.mark.parametrize("columns", [80, 100])
def test_the_help_is_as_wide_as_the_terminal(columns: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy", "run", "--help"],
        env={**os.environ, "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == help_of("run", columns)


def test_the_version_is_reported_without_the_laboratory() -> None:
    # Given an interpreter that lists what it has loaded at its end
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); import deploy.entry; deploy.entry.main()"

    for argument in ("--version", "--help"):
        done = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
        loaded = done.stdout.splitlines()[-1].split()

        heavy = {"redis", "rq", "pydantic", "pydantic_settings", "msgspec", "uvloop", "asyncio"}
        assert not heavy & set(loaded)
        assert not {name for name in loaded if name.split(".")[0] in ("broker", "robots", "telemetry")}


def test_every_error_with_an_exit_code_is_there() -> None:
    named = {NoSuchRun, UnsupportedServer, OSError, errors.UsageError, errors.EnvironmentFailure, errors.Unrepeatable}

    assert {error.__name__ for error in named} == EXIT_CODES.keys()


def test_ctrl_c_while_a_command_is_loaded_ends_without_a_word(tmp_path: Path) -> None:
    # Given a command whose modules are being imported
    (tmp_path / "redis.py").write_text(
        "import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(60)\nraise SystemExit('not ended')\n"
    )
    root = Path(deploy.commands.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", "from deploy.entry import main; main()", "ps"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{root}"},
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        await_true((tmp_path / "importing").exists)

        # When a person presses Ctrl-C
        process.send_signal(signal.SIGINT)

        # Then it ends, and prints nothing
        assert process.communicate(timeout=DEADLINE_S)[1] == b""
        assert process.returncode == -signal.SIGINT
    finally:
        process.kill()
        process.communicate()
