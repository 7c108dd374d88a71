"""What the facts of a host mean for a run."""

from __future__ import annotations

import pytest

from deploy.doctor import host_checks as checks
from deploy.doctor.host_checks import MIB
from deploy.doctor.host_facts import MemoryFacts, PlaceFacts, ProgramFacts, PythonFacts, TerminalFacts

MANY = 1 << 60
VALKEY = "Valkey server v=9.1.2 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"


@pytest.mark.parametrize(
    ("facts", "state", "remedy"),
    [
        (PythonFacts((3, 11, 0), "linux", has_pidfd=True), "ok", ""),
        (PythonFacts((3, 14, 1), "linux", has_pidfd=True), "ok", ""),
        (PythonFacts((3, 10, 9), "linux", has_pidfd=True), "fault", "3.11"),
        (PythonFacts((3, 12, 0), "darwin", has_pidfd=False), "fault", "simulate"),
        (PythonFacts((3, 12, 0), "linux", has_pidfd=False), "fault", "pidfd_open"),
    ],
)
def test_a_live_run_needs_python_and_linux(facts: PythonFacts, state: str, remedy: str) -> None:
    check = checks.python_check(facts)

    assert check.state == state
    assert remedy in check.remedy


@pytest.mark.parametrize(
    ("facts", "state", "text"),
    [
        (ProgramFacts("/v", VALKEY), "ok", "private: /v, Valkey 9.1.2"),
        (
            ProgramFacts("/r", "Redis server v=7.0.15 sha=0 malloc=libc bits=64 build=1"),
            "ok",
            "private: /r, Redis 7.0.15",
        ),
        (ProgramFacts("/r", "Redis server v=6.2.14 sha=0"), "fault", "Redis 6.2.14"),
        (ProgramFacts("/r", "KeyDB 6"), "unknown", "it prints 'KeyDB 6'"),
        (ProgramFacts("/r", ""), "unknown", "it prints ''"),
        (ProgramFacts(trouble="neither redis-server nor valkey-server is on PATH"), "fault", "neither redis-server"),
        (ProgramFacts("/r", trouble="/r cannot be run: Permission denied"), "fault", "Permission denied"),
    ],
)
def test_a_private_server_needs_a_program_that_is_new_enough(facts: ProgramFacts, state: str, text: str) -> None:
    check = checks.program_check(facts)

    assert check.state == state
    assert text in check.text
    assert bool(check.remedy) == (state != "ok")


NEED = checks.BASE_FILES + 50 * checks.ROBOT_FILES
SERVER = checks.BASE_CONNECTIONS + 50 * checks.ROBOT_CONNECTIONS


@pytest.mark.parametrize(
    ("soft", "hard", "is_private", "state", "remedy"),
    [
        (NEED, SERVER, True, "ok", ""),
        (NEED - 1, MANY, True, "fault", f"ulimit -n {NEED}"),
        (NEED, SERVER - 1, True, "fault", f"LimitNOFILE={SERVER}"),
        (NEED, SERVER - 1, False, "ok", ""),  # the server's files are another host's
    ],
)
def test_the_limit_of_open_files_is_compared_with_what_so_many_robots_need(
    soft: int, hard: int, is_private: bool, state: str, remedy: str
) -> None:
    check = checks.files_check(soft, hard, 50, is_private)

    assert check.state == state
    assert remedy in check.remedy
    assert "50 robots" in check.text or state == "fault"


def of_robots(robots: int) -> int:
    return checks.BASE_MEMORY + robots * checks.ROBOT_MEMORY


@pytest.mark.parametrize(
    ("facts", "state", "text"),
    [
        (MemoryFacts(of_robots(50) * 2, None), "ok", "available"),
        (MemoryFacts(of_robots(50) + MIB, None), "warning", "available"),
        (MemoryFacts(of_robots(50) - MIB, None), "fault", "available"),
        (MemoryFacts(of_robots(500), of_robots(50) - MIB), "fault", "left in this container's limit"),
        (MemoryFacts(of_robots(50) - MIB, of_robots(500)), "fault", "available"),
        (MemoryFacts(None, of_robots(500)), "ok", "left in this container's limit"),
        (MemoryFacts(None, None), "unknown", "not known how much is available"),
    ],
)
def test_memory_must_do_for_so_many_robots_in_the_tightest_limit(facts: MemoryFacts, state: str, text: str) -> None:
    check = checks.memory_check(facts, 50)

    assert check.state == state
    assert text in check.text


def test_the_remedy_names_a_number_of_robots_that_fits() -> None:
    facts = MemoryFacts(of_robots(50), None)
    remedy = checks.memory_check(facts, 50).remedy

    fewer = int(remedy.rpartition(": ")[2].split()[0])

    assert 0 < fewer < 50
    assert checks.memory_check(facts, fewer).state == "ok"
    assert checks.memory_check(facts, fewer + 1).state == "warning"
    assert ": 0 fit" in checks.memory_check(MemoryFacts(0, None), 2).remedy


@pytest.mark.parametrize(
    ("facts", "state", "text"),
    [
        (PlaceFacts("/tmp", 2 * checks.GOOD_ROOM), "ok", "/tmp: 1.0 GiB free"),
        (PlaceFacts("/tmp", checks.GOOD_ROOM - 1), "warning", "/tmp: 512 MiB free"),
        (PlaceFacts("/tmp", checks.LEAST_ROOM - 1), "fault", "/tmp: 64 MiB free"),
        (PlaceFacts("/ro", trouble="Read-only file system"), "fault", "/ro: Read-only file system"),
        (PlaceFacts("", trouble="the temporary folder's path is too long"), "fault", "the temporary folder's path"),
    ],
)
def test_a_folder_must_be_writable_and_have_room(facts: PlaceFacts, state: str, text: str) -> None:
    for check in (checks.temporary_check(facts), checks.runs_check(facts)):
        assert check.state == state
        assert check.text.startswith(text)
        assert bool(check.remedy) == (state != "ok")
    assert "TMPDIR" in checks.temporary_check(PlaceFacts("", trouble="x")).remedy
    assert "--runs-dir" in checks.runs_check(PlaceFacts("", trouble="x")).remedy


@pytest.mark.parametrize(
    ("facts", "state", "text"),
    [
        (
            TerminalFacts(True, 100, "utf-8", "xterm-256color", False),
            "ok",
            "100 columns, UTF-8, colours (xterm-256color)",
        ),
        (TerminalFacts(True, 100, "UTF-8", "xterm", True), "ok", "100 columns, UTF-8, no colours (xterm)"),
        (TerminalFacts(True, 80, "UTF8", "", False), "ok", "80 columns, UTF-8, no colours (TERM is not set)"),
        (TerminalFacts(True, 79, "utf-8", "dumb", False), "warning", "79 columns, UTF-8, no colours (dumb)"),
        (TerminalFacts(True, 100, "ascii", "xterm", False), "warning", "the encoding of standard output is ascii"),
        (TerminalFacts(False, 80, "latin-1", "", False), "warning", "the encoding of standard output is latin-1"),
        (TerminalFacts(False, 40, "utf-8", "", False), "ok", "none: standard output goes elsewhere"),
        (TerminalFacts(False, 80, "", "", False), "warning", "the encoding of standard output is not known"),
    ],
)
def test_a_terminal_needs_a_width_and_an_encoding(facts: TerminalFacts, state: str, text: str) -> None:
    check = checks.terminal_check(facts)

    assert check.state == state
    assert check.text.startswith(text)
