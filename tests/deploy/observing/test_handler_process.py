"""The process of a user's handlers: what it does with a file that grows, and how little a bad handler can do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.errors import UsageError
from deploy.observing import handler_process
from deploy.observing.handler_process import HandlerProcess
from telemetry.events import RobotStarted, Stamped
from telemetry.handlers.external import HandlerCounts, report_lines
from tests.support.waiting import await_true

MODULE = """
import os, sys, time

class Writes:
    def __init__(self):
        self.file = open("handled", "a", buffering=1)

    def handle(self, stamped, following):
        print(stamped.number, file=self.file)
        following(stamped)

    def close(self):
        print("closed", file=self.file)

class FailsOnOdd:
    def handle(self, stamped, following):
        if stamped.number % 2:
            raise ValueError(stamped.number)
        following(stamped)

class Hangs:
    def handle(self, stamped, following):
        if stamped.number == 3:
            time.sleep(600)
        following(stamped)

class Exits:
    def handle(self, stamped, following):
        if stamped.number == 3:
            os._exit(7)
        following(stamped)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "my_handlers.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(*numbers: int) -> bytes:
    events = (Stamped("7b08e1", "r03", 1, number, 0, 0, RobotStarted()) for number in numbers)
    return b"".join(msgspec.json.encode(stamped) + b"\n" for stamped in events)


def handled(folder: Path) -> list[str]:
    return (folder / "handled").read_text().split()


def test_handlers_get_each_event_once_as_the_file_grows_and_are_closed_after_the_last(folder: Path) -> None:
    # Given a process that follows a file which is not there yet
    process, path = HandlerProcess(["my_handlers:Writes"]), folder / "events.jsonl"
    process.follow(path)

    # When events come, one of them in two pieces
    with path.open("ab", buffering=0) as file:
        file.write(lines(1, 2) + lines(3)[:20])
        await_true(lambda: len(handled(folder)) == 2)
        file.write(lines(3)[20:])
        await_true(lambda: len(handled(folder)) == 3)
        file.write(lines(4))

    # Then all were handled by the end
    assert process.end(4) == HandlerCounts({"my_handlers:Writes": 0}, missed=0)
    assert handled(folder) == ["1", "2", "3", "4", "closed"]


def test_failures_are_counted_and_reported_once_and_the_next_handler_gets_all(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "events.jsonl").write_bytes(lines(*range(1, 6)))

    with HandlerProcess(["my_handlers:FailsOnOdd", "my_handlers:Writes"]) as handlers:
        handlers.follow(folder / "events.jsonl")
        counts = handlers.end(5)

    assert counts == HandlerCounts({"my_handlers:FailsOnOdd": 3, "my_handlers:Writes": 0}, missed=0)
    assert handled(folder) == ["1", "2", "3", "4", "5", "closed"]
    assert capfd.readouterr().err == "robots: handler my_handlers:FailsOnOdd failed, and goes on: ValueError: 1\n"


def children() -> set[str]:
    """Of this process, zombies included; a server of other tests may be among them."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("name", ["Hangs", "Exits"])
def test_what_a_handler_that_hangs_or_ends_its_process_missed_is_counted(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a handler that never comes back from the third event
    monkeypatch.setattr(handler_process, "END_S", 0.5)
    (folder / "events.jsonl").write_bytes(lines(*range(1, 11)))
    before = children()
    with HandlerProcess([f"my_handlers:{name}", "my_handlers:Writes"]) as handlers:
        handlers.follow(folder / "events.jsonl")
        await_true(lambda: (folder / "handled").exists() and len(handled(folder)) == 2)

        # When the run is over
        began = time.monotonic()
        counts = handlers.end(10)

    # Then nothing waits for it any longer
    assert time.monotonic() - began < 5
    assert counts.missed == 8
    assert list(report_lines(counts, 10)) == [
        "handlers missed 8 of 10 events: they were too slow, or their process died"
        f" (they share one process: my_handlers:{name}, my_handlers:Writes)"
    ]
    assert children() == before  # none is left


def test_a_name_that_cannot_be_imported_is_refused_before_anything_begins(folder: Path) -> None:
    before = children()
    with pytest.raises(UsageError, match=r"^--handlers: my_handlers:Absent: module my_handlers has no Absent$"):
        HandlerProcess(["my_handlers:Writes", "my_handlers:Absent"])

    assert children() == before


def test_a_module_that_ends_its_process_is_refused(folder: Path) -> None:
    (folder / "my_exit.py").write_text("import os\nos._exit(0)\n")

    with pytest.raises(UsageError, match="its process ended while they were made"):
        HandlerProcess(["my_exit:Anything"])


def test_a_reason_is_reported_and_cut_however_long_it_is(folder: Path) -> None:
    (folder / "my_long.py").write_text("raise ValueError('x' * 10_000)\n")

    with pytest.raises(UsageError, match=r"^--handlers: my_long:Anything cannot be imported: ValueError: x{200}"):
        HandlerProcess(["my_long:Anything"])


def test_handlers_end_in_order_when_their_parent_hangs_up(folder: Path) -> None:
    # Given a process that follows a file
    (folder / "events.jsonl").write_bytes(lines(1, 2))
    with HandlerProcess(["my_handlers:Writes"]) as process:
        process.follow(folder / "events.jsonl")
        await_true(lambda: (folder / "handled").exists() and len(handled(folder)) == 2)
        # When the only writer of its orders closes them without a word
        process.hang_up()
        # Then it has handled all that is there, and ends
        await_true(lambda: handled(folder) == ["1", "2", "closed"])
