"""What is inside each robot: its workers, how often they crashed and which run again, what of the restart budget is
used, and which channels dropped items.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from telemetry.events import (
    ChannelPressure,
    RobotBorn,
    Stamped,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerRestarted,
    WorkerStarted,
)
from telemetry.view import View

_INJECTED: Final = "InjectedCrash:"
_FOLDED: Final = frozenset(
    {ChannelPressure, RobotBorn, WorkerCrashed, WorkerGaveUp, WorkerRestarted, WorkerStarted},
)


class WorkerState(NamedTuple):
    """One worker of a robot. `crashes`: of all lives; `crashed_us`: the last one, None: never; `again_us`: when it was
    to run again after that, and None while that is not decided; `back_us`: when it reported to run again."""

    crashes: int = 0
    error: str = ""
    crashed_us: int | None = None
    again_us: int | None = None
    back_us: int | None = None
    has_given_up: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it runs, as far as is known."""
        return self.crashed_us is None or self.back_us is not None


NEVER_CRASHED: Final = WorkerState()


class Workers:
    """`robots`: of each robot the workers that ever crashed, by name. `charged`: of each robot the crashes of its
    present life that count against its restart budget, each with its time of the wall clock. `dropped`: of each robot
    the items that each channel dropped in its present life."""

    def __init__(self) -> None:
        self.robots: dict[str, dict[str, WorkerState]] = {}
        self.charged: dict[str, tuple[int, ...]] = {}
        self.dropped: dict[str, dict[str, int]] = {}

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Take an event of a robot's supervisor."""
        event = stamped.event
        if type(event) not in _FOLDED:
            return
        if isinstance(event, RobotBorn):
            self._born(stamped)
        elif isinstance(event, ChannelPressure):
            self.dropped[stamped.source] = {**self.dropped.get(stamped.source, {}), event.channel: event.dropped}
        elif isinstance(event, WorkerGaveUp) and event.worker == stamped.source:
            return  # the robot itself: its line says so
        elif isinstance(event, WorkerCrashed | WorkerGaveUp | WorkerRestarted | WorkerStarted):
            workers = self.robots.get(stamped.source, {})
            before = workers.get(event.worker, NEVER_CRASHED)
            self.robots[stamped.source] = {**workers, event.worker: _after(before, stamped)}
            if isinstance(event, WorkerCrashed) and not event.error.startswith(_INJECTED):
                self.charged[stamped.source] = (*self.charged.get(stamped.source, ()), stamped.wall_us)

    def copy(self) -> Workers:
        other = Workers()
        other.robots, other.charged, other.dropped = self.robots.copy(), self.charged.copy(), self.dropped.copy()
        return other

    def _born(self, stamped: Stamped) -> None:
        """A new life has new workers, and a whole budget."""
        self.charged.pop(stamped.source, None)
        self.dropped.pop(stamped.source, None)
        workers = self.robots.get(stamped.source)
        if workers:
            self.robots[stamped.source] = {name: WorkerState(each.crashes) for name, each in workers.items()}


def _after(before: WorkerState, stamped: Stamped) -> WorkerState:
    match stamped.event:
        case WorkerCrashed(error=error):
            return WorkerState(before.crashes + 1, error, stamped.wall_us)
        case WorkerRestarted(delay_us=delay_us):
            return before._replace(again_us=stamped.wall_us + delay_us)
        case WorkerStarted():
            return before._replace(back_us=stamped.wall_us)
        case WorkerGaveUp():
            return before._replace(has_given_up=True)
    return before
