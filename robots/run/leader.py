"""The leader's part in the fault plan: publishes dated changes and people's requests to every outbox. A request that
concerns process faults alone is acknowledged in the fleet log instead: no relay needs to know of it.

Relays read the plan there. While the server is away, changes wait in their order: none is lost, they only come late.
The caller chooses the clock and the time of each poll.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from broker.control_entries import PlanChange
from broker.errors import Unavailable
from broker.faults.feasible import RunFacts
from broker.faults.schedule import Due
from broker.faults.scheduler import PlanScheduler
from broker.ports.run import FleetLog, RunControl


class PlanPublisher:
    """Publishes what the plan scheduler decides. Times are microseconds since `go`, negative before it.

    `answered`: the ids of requests that an earlier leader has answered, and the scheduler knows. `facts`: what is known
    of the run now; a request that it can never do is refused. None: that is not checked.
    """

    def __init__(
        self,
        scheduler: PlanScheduler,
        run_control: RunControl,
        log: FleetLog,
        answered: Iterable[str] = (),
        facts: Callable[[], RunFacts] | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._run_control = run_control
        self._log = log
        self._answered = frozenset(answered)
        self._facts = facts
        # Not known to be stored. They do not wait for each other: readers merge the answers by their requests' ids.
        self._changes: deque[PlanChange] = deque()
        self._acknowledgements: deque[PlanChange] = deque()

    def publish(self, now_us: int, is_server_there: bool = True) -> None:
        """Publish what is due or was requested by now, if the server answers. `is_server_there` = False: do not try."""
        self._poll(now_us)
        if not is_server_there:
            return
        for request in self._run_control.requests():
            if request.entry in self._answered:
                continue
            is_about_processes = self._scheduler.is_about_processes(request.text, now_us)
            facts = None if self._facts is None else self._facts()
            answer = self._scheduler.answer(request.entry, request.text, now_us, facts)
            (self._acknowledgements if is_about_processes else self._changes).append(answer)
        with suppress(Unavailable):
            self._acknowledge()
        with suppress(Unavailable):
            self._put(is_retried=False)

    def begin(self) -> None:
        """Publish what is dated 0, so that it is in force before the first envelope. Raises Unavailable."""
        self._poll(0)
        self._put(is_retried=True)

    def repeat(self, now_us: int) -> None:
        """Queue what is in force now once more: an earlier leader may not have reached every outbox."""
        self._poll(now_us)
        self._changes.append(PlanChange(self._scheduler.in_force(now_us)))

    @property
    def is_answered(self) -> bool:
        """Whether the answer to every request that was read is stored. Until then, no process fault may be injected: a
        successor would answer the request again, and inject its faults twice."""
        return not self._acknowledgements and not any(change.request_id for change in self._changes)

    def next_due_us(self, now_us: int) -> int | None:
        """When the next change or process fault is due; None when nothing is known to come."""
        return None if now_us < 0 else self._scheduler.next_due_us(now_us)

    def due_faults(self, now_us: int) -> list[Due]:
        """The process faults that have come due since the last call; none before `go`."""
        return [] if now_us < 0 else self._scheduler.due_faults(now_us)

    def is_settled(self, now_us: int) -> bool:
        """Whether every dated fault has happened, is over if it has a duration, and is published."""
        return not self._changes and not self._acknowledgements and self._scheduler.is_settled(now_us)

    def _poll(self, now_us: int) -> None:
        change = self._scheduler.advance(now_us)
        if change is not None:
            self._changes.append(change)

    def _acknowledge(self) -> None:
        while self._acknowledgements:
            answer = self._acknowledgements[0]
            self._log.acknowledge(answer.request_id, answer.request, answer.refusal)
            self._acknowledgements.popleft()

    def _put(self, is_retried: bool) -> None:
        while self._changes:
            self._run_control.change(self._changes[0], is_retried)
            self._changes.popleft()
