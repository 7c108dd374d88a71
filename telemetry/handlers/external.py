"""Handlers of a user: found by the names that this process's user has given, and made. The only code of others that the
lab ever imports; a name never comes from a server, a record or another process. Whatever a handler raises is its own
failure, `SystemExit` too; only a real Ctrl-C goes through.

A handler is a class that is made without arguments. Its `handle(stamped, following)` gets every event, and calls
`following(stamped)` unless the event is to end there; its `close()`, if it has one, is called after the last.
"""

from __future__ import annotations

import importlib
import inspect
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from telemetry.console import printable
from telemetry.events import Stamped
from telemetry.pipeline import Handler, Next, Pipeline

_NAME: Final = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


class UnknownHandler(ValueError):
    """A name means no handler; the message is one line."""


def check_handler_name(name: str) -> None:
    """Raises UnknownHandler unless it has the form MODULE:CLASS. Imports nothing."""
    if not _NAME.fullmatch(name):
        raise UnknownHandler(f"{name!r} names no handler; allowed is MODULE:CLASS, such as my_module:MyHandler")


class HandlerCounts(msgspec.Struct, frozen=True):
    """What became of a run's events: how often each handler raised, by its name, and how many never got to one."""

    failed: dict[str, int] = {}
    missed: int = 0


class UserHandlers:
    """The handlers of these names in one chain, with `last` behind them; calling it sends an event through.

    A module may lie in `folder`, unless one of its name is elsewhere. The first failure of each handler is reported in
    one line. Raises UnknownHandler.
    """

    def __init__(self, names: Sequence[str], folder: Path, report: Callable[[str], None], *last: Handler) -> None:
        if names and str(folder) not in sys.path:
            sys.path.append(str(folder))
        self.names = names
        self.failures = [0] * len(names)
        """How often each has raised, in the order of the names."""
        with _ctrl_c_marked():
            self._handlers = [_Guarded(_load(name)) for name in names]
        self._report = report
        self._pipeline = Pipeline(*self._handlers, *last, on_failure=self._count)

    def __call__(self, stamped: Stamped) -> None:
        with _ctrl_c_marked():
            self._pipeline(stamped)

    def close(self) -> HandlerCounts:
        """Let each handler end, by its `close()` if it has one; what failed in all."""
        with _ctrl_c_marked():
            for handler in self._handlers:
                try:
                    handler.close()
                except Exception as error:  # it must not keep the others from their end
                    self._count(handler, error)
        return HandlerCounts(dict(zip(self.names, self.failures, strict=True)))

    def _count(self, handler: Handler, error: Exception) -> None:
        number = next((number for number, known in enumerate(self._handlers) if known is handler), None)
        if number is None:
            return
        self.failures[number] += 1
        if self.failures[number] == 1:
            self._report(f"handler {self.names[number]} failed, and goes on: {_reason(error)}")


def report_lines(counts: HandlerCounts, recorded: int) -> Iterator[str]:
    """What a person must know, when the last of so many events is recorded."""
    for name, times in counts.failed.items():
        if times:
            yield f"handler {name} failed with {times} of {recorded} events"
    if counts.missed:
        why = "they were too slow, or their process died"
        shared = f" (they share one process: {', '.join(counts.failed)})" * (len(counts.failed) > 1)
        yield f"handlers missed {counts.missed} of {recorded} events: {why}{shared}"


def _load(name: str) -> Handler:
    check_handler_name(name)
    module_name, _, class_name = name.partition(":")
    with _refusing(name, "cannot be imported"):
        module = importlib.import_module(module_name)
    if not hasattr(module, class_name):
        raise UnknownHandler(f"{name}: module {module_name} has no {class_name}")
    with _refusing(name, "cannot be made"):
        handler: Any = getattr(module, class_name)()
    with _refusing(name, "is no handler: it must have handle(stamped, following)"):
        inspect.signature(handler.handle).bind(None, None)
    made: Handler = handler
    return made


@contextmanager
def _refusing(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except _CtrlC:
        raise
    except BaseException as error:  # whatever a module does when it is imported
        raise UnknownHandler(f"{name} {what}: {_reason(error)}") from None


class _Quit(Exception):
    """A handler raised what would end the process, such as SystemExit."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class _Guarded:
    """A handler that raises nothing but an Exception, and _CtrlC."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def handle(self, stamped: Stamped, following: Next) -> None:
        with _guarding():
            self._handler.handle(stamped, following)

    def close(self) -> None:
        with _guarding():
            getattr(self._handler, "close", lambda: None)()


@contextmanager
def _guarding() -> Iterator[None]:
    try:
        yield
    except (Exception, _CtrlC):
        raise
    except BaseException as error:
        raise _Quit(error) from error


class _CtrlC(KeyboardInterrupt):
    """A person has interrupted this process. A KeyboardInterrupt of another class was raised by a handler."""


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise _CtrlC


@contextmanager
def _ctrl_c_marked() -> Iterator[None]:
    """Within, a Ctrl-C that raises KeyboardInterrupt raises _CtrlC. One that is ignored or handled stays so."""
    is_raising = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_raising or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _reason(error: BaseException) -> str:
    """An error as one line that is harmless to a terminal."""
    raised = error.error if isinstance(error, _Quit) else error
    try:
        text = str(raised)
    except BaseException:  # of a user: its text cannot be made
        text = "?"
    return printable(" ".join(f"{type(raised).__name__}: {text}".split()))
