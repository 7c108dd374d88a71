"""Keeps a run's plan where its relays read it: what is dated and what people ask for goes into every outbox.

While the server is away, changes wait in their order: nothing of the plan is lost, it only comes late. Whose clock
counts, and when to look, is the caller's affair.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from broker.control_entries import PlanChange
from broker.errors import Unavailable
from broker.faults.schedule import Due
from broker.faults.scheduler import PlanScheduler
from broker.ports.run import RunControl


class PlanPublisher:
    """The conductor's hand. Times are microseconds since `go`, negative before it."""

    def __init__(self, scheduler: PlanScheduler, run_control: RunControl) -> None:
        self._scheduler = scheduler
        self._run_control = run_control
        self._due: deque[PlanChange] = deque()  # and not known to stand in every outbox

    def keep(self, now_us: int, is_server_there: bool = True) -> None:
        """Put out what has come due or was asked for by now, if the server answers; one that is known to be away is
        not asked."""
        self._look(now_us)
        if not is_server_there:
            return
        for request in self._run_control.requests():
            self._due.append(self._scheduler.answer(request.entry, request.text, now_us))
        with suppress(Unavailable):
            self._put(insist=False)

    def begin(self) -> None:
        """Put out what is dated 0, for certain: it is in force before the first envelope. Raises Unavailable."""
        self._look(0)
        self._put(insist=True)

    def repeat(self, now_us: int) -> None:
        """Have what is in force now put out once more: whoever kept the plan before may not have come to every
        outbox."""
        self._look(now_us)
        self._due.append(PlanChange(self._scheduler.in_force(now_us)))

    def next_due_us(self, now_us: int) -> int | None:
        """When the next change or deed is due, if that is known."""
        return None if now_us < 0 else self._scheduler.next_due_us(now_us)

    def due_faults(self, now_us: int) -> list[Due]:
        """The faults of processes that have come due since the last call; none before `go`."""
        return [] if now_us < 0 else self._scheduler.due_faults(now_us)

    def is_settled(self, now_us: int) -> bool:
        """Whether every dated fault has happened, is over if it has a duration, and stands in the outboxes."""
        return not self._due and self._scheduler.is_settled(now_us)

    def _look(self, now_us: int) -> None:
        change = self._scheduler.advance(now_us)
        if change is not None:
            self._due.append(change)

    def _put(self, insist: bool) -> None:
        while self._due:
            self._run_control.change(self._due[0], insist)
            self._due.popleft()
