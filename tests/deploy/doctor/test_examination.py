"""All checks together: their order, their exit code, and that none can hang."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.config.settings import load_settings
from deploy.doctor.check import Check, State, exit_code, size
from deploy.doctor.examination import Job, examine, results_of
from deploy.doctor.server_checks import CHECKS
from tests.support.waiting import await_true

HOST = ["records", "files", "memory", "collector", "terminal"]


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (("ok", "ok"), 0),
        (("ok", "warning"), 0),
        (("warning", "unknown"), 3),
        (("unknown", "fault", "ok"), 4),
    ],
)
def test_the_exit_code_is_that_of_the_worst_check(states: tuple[State, ...], code: int) -> None:
    assert exit_code(Check("x", state, "") for state in states) == code


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 KiB"), (2048, "2 KiB"), (16 << 20, "16 MiB"), (1 << 30, "1.0 GiB"), (5000 << 30, "5000.0 GiB")],
)
def test_a_size_is_written_for_people(octets: int, text: str) -> None:
    assert size(octets) == text


def test_a_check_that_hangs_is_unknown_and_holds_up_no_other() -> None:
    # Given a check that never ends, one that fails, and one that is quick
    is_over = threading.Event()

    def fail() -> list[Check]:
        raise OSError("the disk is gone")

    jobs = [
        Job(["one", "two"], lambda: is_over.wait() and []),
        Job(["three"], fail),
        Job(["four"], lambda: [Check("four", "ok", "fine")]),
    ]
    began = time.monotonic()

    checks = results_of(jobs, 0.3)

    # Then what is not known is called so, and the rest is there, in order
    assert time.monotonic() - began < 5
    is_over.set()
    await_true(lambda: threading.active_count() == 1, what="the end of the check")
    assert [(check.name, check.state) for check in checks] == [
        *(("one", "unknown"), ("two", "unknown")),
        *(("three", "unknown"), ("four", "ok")),
    ]
    assert checks[0].text == "no answer within 0 s"
    assert checks[2].text == "the disk is gone"


def test_without_a_server_the_program_of_a_private_one_is_checked(here: Path) -> None:
    names = [check.name for check in examine(load_settings({}), {})]

    assert names == ["python", "server", "temporary", *HOST]


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://user:hidden@127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_never_answers_is_a_fault_and_the_other_checks_are_made(here: Path, silent: str) -> None:
    checks = examine(load_settings({"redis_url": silent}), {})

    assert [check.name for check in checks] == ["python", *CHECKS, *HOST]
    by_name = {check.name: check for check in checks}
    assert by_name["server"].state == "fault"
    assert {by_name[name].state for name in CHECKS[1:]} == {"unknown"}
    assert by_name["files"].state == "ok"
    assert "hidden" not in str(checks)


def test_each_of_two_planes_is_checked(here: Path, silent: str) -> None:
    given = {"control_url": silent, "data_url": "redis://127.0.0.1:1"}

    checks = examine(load_settings(given), {})

    assert [check.name for check in checks] == [
        *("python", *(f"{plane} {name}" for plane in ("control", "data") for name in CHECKS)),
        *HOST,
    ]
    remedies = {check.name: check.remedy for check in checks}
    assert remedies["control server"].startswith("see --control-url")
    assert remedies["data server"].startswith("see --data-url")


def test_a_server_slower_than_all_the_time_is_unknown(here: Path, silent: str) -> None:
    checks = {check.name: check for check in examine(load_settings({"redis_url": silent}), {}, longest_s=0.5)}

    assert {checks[name].state for name in CHECKS} == {"unknown"}
    assert exit_code(checks.values()) == 3
