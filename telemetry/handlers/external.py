"""Handlers of a user: found by the names that this process's user has given, and made. The only code of others that the
lab ever imports; a name never comes from a server, a record or another process.

A handler is a class that is made without arguments. Its `handle(stamped, following)` gets every event, and calls
`following(stamped)` unless the event is to end there; its `close()`, if it has one, is called after the last.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from telemetry.events import Stamped
from telemetry.pipeline import Handler, Pipeline

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
        self._handlers = [_load(name) for name in names]
        self._report = report
        self._pipeline = Pipeline(*self._handlers, *last, on_failure=self._count)

    def __call__(self, stamped: Stamped) -> None:
        self._pipeline(stamped)

    def close(self) -> HandlerCounts:
        """Let each handler end, by its `close()` if it has one; what failed in all."""
        for handler in self._handlers:
            try:
                getattr(handler, "close", lambda: None)()
            except Exception as error:  # it must not keep the others from their end
                self._count(handler, error)
        return HandlerCounts(dict(zip(self.names, self.failures, strict=True)))

    def _count(self, handler: Handler, error: Exception) -> None:
        number = next((number for number, known in enumerate(self._handlers) if known is handler), None)
        if number is None:
            return
        self.failures[number] += 1
        if self.failures[number] == 1:
            with suppress(Exception):  # an error whose text cannot be made
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self._report(f"handler {self.names[number]} failed, and goes on: {reason}")


def report_lines(counts: HandlerCounts, recorded: int) -> Iterator[str]:
    """What a person must know, when the last of so many events is recorded."""
    for name, times in counts.failed.items():
        if times:
            yield f"handler {name} failed with {times} of {recorded} events"
    if counts.missed:
        why = "they were too slow, or their process died"
        yield f"handlers missed {counts.missed} of {recorded} events: {why}"


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
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnknownHandler(f"{name} {what}: {reason}") from None
