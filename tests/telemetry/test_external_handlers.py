"""Handlers of a user: which names are handlers, what failing ones change, and how they end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.events import RobotStarted, Stamped
from telemetry.handlers.external import HandlerCounts, UnknownHandler, UserHandlers, report_lines

EVENT = Stamped("7b08e1", "r03", 1, 1, 0, 0, RobotStarted())

MODULE = '''
"""Handlers of a user, and what is none."""

import signal
import time

handled, closed = [], []

class Good:
    def handle(self, stamped, following):
        handled.append(stamped.number)
        following(stamped)

    def close(self):
        closed.append("good")

class Bad:
    def handle(self, stamped, following):
        raise ValueError("two\\nlines")

    def close(self):
        raise OSError("no")

class Exits:
    def handle(self, stamped, following):
        raise SystemExit(3)

    def close(self):
        raise KeyboardInterrupt

class Colours:
    def handle(self, stamped, following):
        raise RuntimeError("boom \x1b[31m red")

class Waits:
    def handle(self, stamped, following):
        signal.raise_signal(signal.SIGINT)
        time.sleep(60)

class Raises:
    def __init__(self):
        raise KeyError("x")

class Needs:
    def __init__(self, argument):
        pass

class OneArgument:
    def handle(self, stamped):
        pass

class None_:
    pass
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path, modules = list(sys.path), set(sys.modules)
    (tmp_path / "user_handlers.py").write_text(MODULE)
    (tmp_path / "user_broken.py").write_text("raise SystemExit('no\\nway')")
    yield tmp_path
    sys.path[:] = path
    for name in sys.modules.keys() - modules:
        del sys.modules[name]


def test_handlers_get_every_event_in_their_order(folder: Path) -> None:
    # Given two handlers of a module in the folder, and one of the lab behind them
    passed: list[Stamped] = []

    class Last:
        def handle(self, stamped: Stamped, following: object) -> None:
            passed.append(stamped)

    # When an event comes
    UserHandlers(["user_handlers:Good", "user_handlers:Good"], folder, print, Last())(EVENT)

    # Then each has had it, and it was passed on
    assert (sys.modules["user_handlers"].handled, passed) == ([1, 1], [EVENT])


def test_a_failing_handler_is_counted_reported_once_and_stops_nothing(folder: Path) -> None:
    # Given a handler that always raises, before one that does not
    names = ["user_handlers:Bad", "user_handlers:Good"]
    lines: list[str] = []
    handlers = UserHandlers(names, folder, lines.append)

    # When events come, and the handlers end
    for _ in range(3):
        handlers(EVENT)
    counts = handlers.close()

    # Then the other one has had all, and has ended
    module = sys.modules["user_handlers"]
    assert (module.handled, module.closed) == ([1, 1, 1], ["good"])
    assert counts == HandlerCounts({"user_handlers:Bad": 4, "user_handlers:Good": 0})
    assert list(report_lines(counts, 9)) == ["handler user_handlers:Bad failed with 4 of 9 events"]
    assert lines == ["handler user_handlers:Bad failed, and goes on: ValueError: two lines"]


def test_a_handler_that_ends_the_process_only_fails(folder: Path) -> None:
    # Given a handler that calls for the end of the process, before one that does not
    lines: list[str] = []
    handlers = UserHandlers(["user_handlers:Exits", "user_handlers:Good"], folder, lines.append)

    # When events come, and the handlers end
    handlers(EVENT)
    handlers(EVENT)
    counts = handlers.close()

    # Then it has failed like any other, and the other one has had all, and has ended
    module = sys.modules["user_handlers"]
    assert (module.handled, module.closed) == ([1, 1], ["good"])
    assert counts == HandlerCounts({"user_handlers:Exits": 3, "user_handlers:Good": 0})
    assert lines == ["handler user_handlers:Exits failed, and goes on: SystemExit: 3"]


def test_events_that_were_missed_are_reported_with_all_handlers_that_share_the_process() -> None:
    counts = HandlerCounts({"a:Fast": 0, "b:Slow": 0}, 3)

    [line] = report_lines(counts, 9)

    assert line.startswith("handlers missed 3 of 9 events: ")
    assert line.endswith(" (they share one process: a:Fast, b:Slow)")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that Ctrl-C ends, even where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_a_handler_works_is_no_failure_of_it(folder: Path) -> None:
    # Given a handler that is interrupted while it waits, in a process that Ctrl-C ends
    lines: list[str] = []
    handlers = UserHandlers(["user_handlers:Waits"], folder, lines.append)

    # When an event comes
    with pytest.raises(KeyboardInterrupt):
        handlers(EVENT)

    # Then the interrupt has gone through, and the signal means what it meant before
    assert (handlers.failures, lines) == ([0], [])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_handler_raises_is_shown_without_control_characters(folder: Path) -> None:
    lines: list[str] = []

    UserHandlers(["user_handlers:Colours"], folder, lines.append)(EVENT)

    assert lines == [r"handler user_handlers:Colours failed, and goes on: RuntimeError: boom \x1b[31m red"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("user_handlers", "names no handler; allowed is MODULE:CLASS"),
        ("user_handlers:Good()", "names no handler"),
        ("../x:Good", "names no handler"),
        ("no_such_module_:Good", "cannot be imported: ModuleNotFoundError"),
        ("user_broken:Good", "cannot be imported: SystemExit: no way"),
        ("user_handlers:Better", "module user_handlers has no Better"),
        ("user_handlers:Raises", "cannot be made: KeyError"),
        ("user_handlers:Needs", "cannot be made: TypeError"),
        ("user_handlers:OneArgument", "is no handler: it must have handle(stamped, following)"),
        ("user_handlers:None_", "is no handler"),
        ("user_handlers:handled", "cannot be made: TypeError"),
    ],
)
def test_a_name_that_means_no_handler_is_refused_in_one_line(folder: Path, name: str, complaint: str) -> None:
    with pytest.raises(UnknownHandler) as refused:
        UserHandlers([name], folder, print)

    assert complaint in str(refused.value)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_module_of_the_folder_never_takes_the_place_of_another(folder: Path) -> None:
    # Given a file in the folder that is named like a module of Python
    (folder / "fractions.py").write_text("raise SystemExit")
    sys.modules.pop("fractions", None)

    # When a handler is loaded, and a module of Python after it
    UserHandlers(["user_handlers:Good"], folder, print)

    # Then that one is Python's
    assert __import__("fractions").Fraction(1, 2) == 0.5
