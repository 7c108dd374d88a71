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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from telemetry.pipeline import Handler

_NAME: Final = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


class UnknownHandler(ValueError):
    """A name means no handler; the message is one line."""


def check_handler_name(name: str) -> None:
    """Raises UnknownHandler unless it has the form MODULE:CLASS. Imports nothing."""
    if not _NAME.fullmatch(name):
        raise UnknownHandler(f"{name!r} names no handler; allowed is MODULE:CLASS, such as my_module:MyHandler")


def load_handlers(names: Iterable[str], folder: Path) -> list[Handler]:
    """The handlers of these names, in their order. A module may lie in `folder`, unless one of its name is elsewhere.
    Raises UnknownHandler."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return [_load(name) for name in names]


def close_handlers(handlers: Iterable[Handler], on_failure: Callable[[Handler, Exception], None]) -> None:
    """Let each handler end: `close()`, if it has one."""
    for handler in handlers:
        try:
            getattr(handler, "close", lambda: None)()
        except Exception as error:  # it must not keep the others from their end
            on_failure(handler, error)


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


class HandlerFailures:
    """How often each handler raised, in the order of `names`; the first time of each is reported in one line."""

    def __init__(self, names: Sequence[str], handlers: Sequence[Handler], report: Callable[[str], None]) -> None:
        self.counts = [0] * len(names)
        self._names = names
        self._handlers = handlers
        self._report = report

    def __call__(self, handler: Handler, error: Exception) -> None:
        """Count one; for `Pipeline(on_failure=…)`."""
        number = next(number for number, known in enumerate(self._handlers) if known is handler)
        self.counts[number] += 1
        if self.counts[number] == 1:
            with suppress(Exception):  # an error whose text cannot be made
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self._report(f"handler {self._names[number]} failed, and goes on: {reason}")
