"""The children of a command that stays on a server: one for each task that it finds there, such as a run to lead or a
shard to relay. All work at the same time, and the failure of one ends no other.

What there is to do, and how it is done, is the command's. A task that is found again after its child has ended gets
another child, after growing delays if it failed; one that cannot be done here (exit 2) gets none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from broker.errors import Unavailable
from deploy.errors import USAGE
from deploy.processes.children import ChildDeath, Children
from deploy.processes.liveness import beat
from deploy.processes.signals import ShutdownSignals

POLL_S: Final = 0.5  # between two polls for tasks
END_S: Final = 8.0  # for children to leave in order, before they are killed
FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 30.0

Tasks = Mapping[str, Callable[[], int]]
"""Tasks by name, each with what a child does; its exit status."""


class StayingGroup:
    """`find` gives the tasks that are to be done now, and raises Unavailable; `hang_up` closes its connections, which
    no child may share. `waiting` is the line for a time without any task; `ended` gets each task whose child has ended.
    """

    def __init__(
        self,
        find: Callable[[], Tasks],
        hang_up: Callable[[], None],
        waiting: str,
        report: Callable[[str], None],
        *,
        ended: Callable[[str], None] = lambda _name: None,
        children: Children | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._hang_up = hang_up
        self._waiting = waiting
        self._report = report
        self._ended = ended
        self._children = Children() if children is None else children
        self._clock = clock
        self._refused: set[str] = set()
        self._failures: dict[str, int] = {}  # in a row
        self._due_s: dict[str, float] = {}  # when a task may get its next child
        self._reported = ""  # the last line about a time without tasks

    def run(self, shutdown: ShutdownSignals) -> None:
        """Until a signal; then all children end in order."""
        try:
            while shutdown.reason is None:
                self._start_all()
                for death in self._children.poll(POLL_S, shutdown.read_end):
                    self._handle(death)
                shutdown.drain()
                beat()
        finally:
            for death in self._children.end_all(END_S):
                self._ended(death.name)

    def _start_all(self) -> None:
        try:
            tasks, line = self._find(), self._waiting
        except Unavailable:
            tasks, line = {}, "the server does not answer; waiting for it"
        now_s = self._clock()
        to_start = {name: body for name, body in tasks.items() if self._may_start(name, now_s)}
        if to_start:
            self._hang_up()
        for name, body in to_start.items():
            self._children.start(name, body, None)
        self._report_idle("" if self._children.living else line)

    def _report_idle(self, line: str) -> None:
        """Each line once, until something else is the case."""
        if line and line != self._reported:
            self._report(line)
        self._reported = line

    def _may_start(self, name: str, now_s: float) -> bool:
        is_free = name not in self._children.living and name not in self._refused
        return is_free and now_s >= self._due_s.get(name, now_s)

    def _handle(self, death: ChildDeath) -> None:
        self._ended(death.name)
        if death.status == USAGE:
            self._refused.add(death.name)
            return
        failures = 0 if death.status == 0 else self._failures.get(death.name, 0) + 1
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** max(0, failures - 1))
        self._failures[death.name] = failures
        self._due_s[death.name] = self._clock() + delay_s
        if failures:
            how = f"signal {-death.status}" if death.status < 0 else f"exit {death.status}"
            self._report(f"{death.name} ended ({how}); it is tried again in {delay_s:g} s, if it is still to be done")
