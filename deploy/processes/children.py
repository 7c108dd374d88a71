"""The children of one parent, which has no threads: how a child is forked, watched and ended.

A child is a function that runs in a fork of the preloaded parent, or a process of another origin (`adopt`). Around a
fork, signals wait until both sides have their handlers, and no stream is shared by accident. What a child does, and
whether it is started again, must never stand here.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

import msgspec

from broker.parent_death import die_with_parent
from deploy.processes.forking import (
    flush_streams,
    forget_handlers,
    name_process,
    redirect_streams,
    release_signals,
    signals_held,
)
from deploy.processes.janitor import Janitor


class ChildDeath(msgspec.Struct, frozen=True):
    """A child ended. `status` as of `os.waitstatus_to_exitcode`: negative = killed by that signal."""

    name: str
    pid: int
    status: int


class _Child(msgspec.Struct, frozen=True):
    name: str
    pid: int
    handle: int  # a pidfd: it never means another process, even after the pid was given away again


class Children:
    """All children of this process, by name.

    To be made when everything that children need is imported: from then on that memory is shared with every child, and
    the garbage collector leaves it alone (a collection would copy every page).
    """

    def __init__(self, janitor: Janitor | None = None) -> None:
        self._janitor = janitor
        self._children: dict[str, _Child] = {}
        self._unreported: list[ChildDeath] = []
        gc.collect()
        gc.freeze()

    @property
    def living(self) -> dict[str, int]:
        """The pid of each child that is not known to have ended."""
        return {child.name: child.pid for child in self._children.values()}

    def start(self, name: str, body: Callable[[], int], log: Path | None) -> int:
        """Fork a child that runs `body` and exits with what it returns (1 if it raises); its pid.

        The child dies with us, leads a process group, ignores SIGINT, reads nothing, and appends what it prints to
        `log` (None: to our own standard error). Raises ValueError when a living child bears the name, OSError when
        there can be no child or no log.
        """
        self._demand_free(name)
        assert threading.active_count() == 1, f"a fork copies one thread only; the others: {threading.enumerate()[1:]}"
        output = os.dup(2) if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        parent = os.getpid()
        flush_streams()
        try:
            with signals_held():
                pid = os.fork()
                if pid == 0:
                    self._be_child(parent, name, body, output)
                self._take_in(name, pid)  # before a handler may raise: an unknown child could not be ended
        finally:
            os.close(output)
        return pid

    def adopt(self, name: str, pid: int) -> None:
        """Watch a child of this process that was started elsewhere, and end it like the others.

        Raises ValueError when a living child bears the name, ProcessLookupError when there is no such process.
        """
        self._demand_free(name)
        self._take_in(name, pid)

    def poll(self, timeout_s: float, *others: int) -> list[ChildDeath]:
        """Deaths since the last call. Waits at most `timeout_s` for one, or until one of the descriptors `others` can
        be read (such as the read end of `signal.set_wakeup_fd`, so that a signal wakes the parent)."""
        self._wait(0.0 if self._unreported else timeout_s, others)
        deaths, self._unreported = self._unreported, []
        return deaths

    def signal(self, name: str, number: int) -> None:
        """Send a signal to one child, not to its group. One that has just ended is no error.

        Raises KeyError when no living child bears the name.
        """
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._children[name].handle, number)

    def end(self, names: Iterable[str], grace_s: float, is_asked: bool = True) -> list[ChildDeath]:
        """End these children: SIGTERM (if `is_asked`), wait at most `grace_s`, SIGKILL. Their deaths; those of other
        children in that time are kept for `poll`. Unknown names are no error."""
        ended = {name for name in names if name in self._children}
        for name in ended if is_asked else ():
            self.signal(name, signal.SIGTERM)
            self.signal(name, signal.SIGCONT)  # a paused one could not handle it
        self._await(ended, grace_s)
        for name in ended & self._children.keys():
            self.signal(name, signal.SIGKILL)
        self._await(ended, None)
        deaths = [death for death in self._unreported if death.name in ended]
        self._unreported = [death for death in self._unreported if death.name not in ended]
        return deaths

    def end_all(self, grace_s: float) -> list[ChildDeath]:
        """End every child; see `end`."""
        return self.end(list(self._children), grace_s)

    def _demand_free(self, name: str) -> None:
        if name in self._children:
            raise ValueError(f"{name} is alive already")

    def _take_in(self, name: str, pid: int) -> None:
        self._children[name] = _Child(name, pid, os.pidfd_open(pid))
        if self._janitor is not None:
            self._janitor.watch(pid)

    def _await(self, names: Iterable[str], limit_s: float | None) -> None:
        """Wait until none of the names lives, at most `limit_s` if that is given."""
        deadline = None if limit_s is None else time.monotonic() + limit_s
        while any(name in self._children for name in names):
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                return
            self._wait(left_s)

    def _wait(self, timeout_s: float | None, others: Iterable[int] = ()) -> None:
        """Collect deaths into `_unreported`; the only place that waits."""
        poll = select.poll()
        by_handle = {child.handle: child for child in self._children.values()}
        for descriptor in (*by_handle, *others):
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(None if timeout_s is None else max(0, round(timeout_s * 1000))):
            if descriptor in by_handle:
                self._bury(by_handle[descriptor])

    def _bury(self, child: _Child) -> None:
        try:
            _, wait_status = os.waitpid(child.pid, 0)
        except ChildProcessError:  # adopted, and its status was read elsewhere
            wait_status = 0
        os.close(child.handle)
        del self._children[child.name]
        if self._janitor is not None:
            self._janitor.forget(child.pid)
        self._unreported.append(ChildDeath(child.name, child.pid, os.waitstatus_to_exitcode(wait_status)))

    def _be_child(self, parent: int, name: str, body: Callable[[], int], output: int) -> NoReturn:
        """The whole life of a child. It never returns into the parent's stack, nor into its `atexit`."""
        status = 1
        try:
            die_with_parent(parent)
            os.setpgid(0, 0)
            name_process(name)
            forget_handlers()
            redirect_streams(output)
            self._let_go()
            release_signals()
            status = body()
        except BaseException:  # of any kind: it ends here, and stands in the log
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                flush_streams()
            os._exit(status)

    def _let_go(self) -> None:
        """Close what belongs to the parent alone."""
        if self._janitor is not None:
            self._janitor.let_go()
        for child in self._children.values():
            os.close(child.handle)
