"""Enter at a terminal is seen without waiting for it; a pipe, a closed input and another's terminal are never read."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")

ASK = "from deploy.processes.enter_key import EnterKey; key = EnterKey(True); "
UNTIL_PRESSED = (
    ASK + "print('asking', key.is_there, key.was_pressed(), flush=True)\n"
    "while not key.was_pressed(): pass\n"
    "print('pressed', key.was_pressed(), flush=True)"
)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A person's end, and the program's end."""
    person, program = pty.openpty()
    yield person, program
    os.close(person)
    os.close(program)


def started(code: str, program: int, own_session: str) -> subprocess.Popen[str]:
    """A program whose standard input is the terminal; with `own_session` it has the terminal to itself."""
    begin = "import fcntl, os, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" if own_session else ""
    return subprocess.Popen([sys.executable, "-c", begin + code], stdin=program, stdout=subprocess.PIPE, text=True)


def test_enter_is_seen_once_and_other_keys_are_not(terminal: tuple[int, int]) -> None:
    # Given a program that asks again and again
    person, program = terminal
    process = started(UNTIL_PRESSED, program, "own session")
    assert process.stdout is not None
    assert process.stdout.readline() == "asking True False\n"

    # When a person types, and then presses Enter
    os.write(person, b"what")
    assert process.poll() is None
    os.write(person, b"\n")

    # Then it was pressed, once
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert out == "pressed False\n"


def test_a_terminal_that_another_program_uses_is_not_read(terminal: tuple[int, int]) -> None:
    # Given a program in the background: the terminal is not its own
    person, program = terminal
    os.write(person, b"for somebody else\n")

    # When it asks
    process = started(ASK + "print(key.is_there, key.was_pressed())", program, "")
    out, _ = process.communicate(timeout=DEADLINE_S)

    # Then it goes on, and what was typed is still there
    assert out == "True False\n"
    assert os.read(program, 100) == b"for somebody else\n"


def test_the_end_of_a_terminal_is_no_key() -> None:
    # Given a program whose terminal is closed by the person
    person, program = pty.openpty()
    process = started(
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + ASK + "print('asking', flush=True)\n"
        "while key.is_there: assert not key.was_pressed()\n"
        "print('gone', flush=True)",
        program,
        "own session",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "asking\n"

    os.close(person)
    os.close(program)

    assert process.communicate(timeout=DEADLINE_S)[0] == "gone\n"


@pytest.mark.parametrize("how", ["a pipe", "closed", "not used"])
def test_without_a_terminal_there_is_no_key(how: str) -> None:
    code = ASK if how != "not used" else ASK.replace("True", "False")
    closing = "import os, sys; os.close(0); sys.stdin = None\n" if how == "closed" else ""

    done = subprocess.run(
        [sys.executable, "-c", f"{closing}{code}print(key.is_there, key.was_pressed())"],
        input="\n",
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "False False\n"
