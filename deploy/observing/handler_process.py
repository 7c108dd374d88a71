"""A user's handlers beside a run: one process that reads the run's `events.jsonl` as it grows, and nothing else.

No robot, relay or supervisor imports a user's code or waits for it. The file is the queue: it is written anyway, so a
slow handler costs no memory, and lags behind. What is still unread END_S after the run's end is missed, which is
counted; so is all that comes after a crash of the process.
"""

from __future__ import annotations

import mmap
import os
import select
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from deploy.errors import UsageError
from deploy.processes.children import Children
from deploy.processes.janitor import Janitor
from telemetry.handlers.external import HandlerCounts, UnknownHandler, UserHandlers
from telemetry.record.growing import GrowingEvents

END_S: Final = 5.0  # for handlers to handle what is left, when the run is over
LOAD_S: Final = 30.0  # for a user's modules to be imported
_POLL_S: Final = 0.1
_NAME: Final = "handlers"
_LONGEST: Final = 4096  # bytes of a line on a pipe
_READY: Final = b"ready\n"
_END: Final = "end"


class HandlerProcess:
    """The parent's end of it. The process dies with its parent, and at the end of a `with` block at the latest."""

    def __init__(self, names: Sequence[str], janitor: Janitor | None = None) -> None:
        """Start it: the handlers of these names are imported and made there. Raises UsageError when one cannot be."""
        self._names = names
        self._counts = _SharedCounts(len(names))
        answers, answer = os.pipe()
        orders, self._order = os.pipe()
        self._children = Children(janitor)
        body = partial(_serve, names, Path.cwd(), self._counts, _Pipes(answer, orders, (answers, self._order)))
        self._children.start(_NAME, body, None)  # what handlers print is the user's to see
        os.close(answer)
        os.close(orders)
        try:
            self._await_ready(answers)
        except BaseException:
            self._leave(0.0)
            raise
        finally:
            os.close(answers)

    def follow(self, events: Path) -> None:
        """Let the handlers have the events of this file, from now on and to its end."""
        self._send(f"{events.absolute()}\n")

    def end(self, recorded: int) -> HandlerCounts:
        """The run is over, and the file is whole, with so many events: wait until all are read, at most END_S."""
        self._send(f"{_END}\n")
        self._leave(END_S)
        handled, *failed = self._counts.values()
        return HandlerCounts(dict(zip(self._names, failed, strict=True)), recorded - handled)

    def hang_up(self) -> None:
        """Say no more: the process handles what is there, and ends."""
        if self._order >= 0:
            os.close(self._order)
            self._order = -1

    def __enter__(self) -> HandlerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave(0.0)

    def _await_ready(self, answers: int) -> None:
        answer = b""
        while not answer.endswith(b"\n"):
            readable, _, _ = select.select([answers], [], [], LOAD_S)
            piece = os.read(answers, _LONGEST) if readable else b""
            if not piece:
                why = f"not made after {LOAD_S:g} s" if not readable else "its process ended while they were made"
                raise UsageError(f"--handlers: {', '.join(self._names)}: {why}")
            answer += piece
        if answer != _READY:
            raise UsageError(f"--handlers: {answer.decode(errors='replace').strip()}")

    def _send(self, line: str) -> None:
        try:
            os.write(self._order, os.fsencode(line))
        except OSError:  # it has ended: what it missed is counted
            return

    def _leave(self, grace_s: float) -> None:
        if _NAME in self._children.living:
            self._children.end([_NAME], grace_s, is_asked=False)
        self.hang_up()


class _Pipes(NamedTuple):
    """The ends of two pipes, as the process has them after the fork: its own ones, and those of its parent, which it
    does not keep: with them the pipes would never end."""

    answer: int
    orders: int
    of_parent: tuple[int, int]


class _SharedCounts:
    """Numbers in memory that a fork shares: how many events were handled, and how often each handler raised."""

    def __init__(self, handlers: int) -> None:
        self._numbers = memoryview(mmap.mmap(-1, 8 * (1 + handlers))).cast("Q")

    def put(self, handled: int, failed: Sequence[int]) -> None:
        self._numbers[0] = handled
        for number, count in enumerate(failed, 1):
            self._numbers[number] = count

    def values(self) -> list[int]:
        return self._numbers.tolist()


def _serve(names: Sequence[str], folder: Path, counts: _SharedCounts, pipes: _Pipes) -> int:
    """The life of the process; its exit status."""
    for descriptor in pipes.of_parent:
        os.close(descriptor)
    try:
        handlers = UserHandlers(names, folder, lambda line: print(f"robots: {line}", flush=True))
    except UnknownHandler as error:
        os.write(pipes.answer, str(error).encode()[: _LONGEST - 1] + b"\n")
        return 0
    os.write(pipes.answer, _READY)
    os.close(pipes.answer)
    lines = _Lines(pipes.orders)
    path = lines.take(None)
    if path is not None and path != _END:
        _follow(GrowingEvents(Path(path)), handlers, counts, lambda: lines.take(_POLL_S) is not None)
    handlers.close()
    counts.put(counts.values()[0], handlers.failures)
    return 0


class _Lines:
    """What the parent sends on a pipe, line by line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def take(self, timeout_s: float | None) -> str | None:
        """The next line; END at the end of the pipe, whose writer is gone; None when none comes in time."""
        while b"\n" not in self._rest:
            if not select.select([self._descriptor], [], [], timeout_s)[0]:
                return None
            piece = os.read(self._descriptor, _LONGEST)
            if not piece:
                return _END
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return os.fsdecode(line)


def _follow(events: GrowingEvents, handlers: UserHandlers, counts: _SharedCounts, is_over: Callable[[], bool]) -> None:
    """Give the handlers all events, until none is left after `is_over()`."""
    handled, was_over = 0, False
    while True:
        for stamped in events.read():
            handlers(stamped)
            handled += 1
            counts.put(handled, handlers.failures)
        if was_over:
            return
        was_over = is_over()
