"""What reaches a terminal: letters alone, whatever comes from outside, in whatever encoding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.commands.output import json_line, print_result, report

HOSTILE = "\x1b[2J\x9b\x07\u202e é"


def robots(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **variables}
    command = [sys.executable, "-m", "deploy", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=60)


def test_no_control_character_passes_either_border(capsys: pytest.CaptureFixture[str]) -> None:
    report(f"robots: {HOSTILE}")
    print_result(f"one {HOSTILE}\ntwo")
    printed = capsys.readouterr()
    assert printed.err == "robots: \\u001b[2J\\u009b\\u0007\\u202e é\n"
    assert printed.out == "one \\u001b[2J\\u009b\\u0007\\u202e é\ntwo\n"


def test_an_object_keeps_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(json_line({"text": HOSTILE}))
    out = capsys.readouterr().out
    assert json.loads(out) == {"text": HOSTILE}
    assert out.strip().isprintable()


def test_an_error_that_echoes_an_argument_is_harmless(tmp_path: Path) -> None:
    for arguments in (("why", HOSTILE), ("run", "--loss", HOSTILE), ("simulate", HOSTILE), (HOSTILE,)):
        done = robots(*arguments, folder=tmp_path)
        assert done.returncode == 2, done
        assert done.stderr.decode().rstrip("\n").isprintable(), done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_knows_few_letters_gets_replacements_and_the_exit_code_is_that_of_the_work(
    encoding: str, tmp_path: Path
) -> None:
    arguments = ("simulate", "-n", "3", "--seed", "1", "--secret", "Ein Ümlaut → 秘密 " * 9)
    done = robots(*arguments, folder=tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert b"\\u79d8" in done.stdout
