"""What disturbed a run, over time: the faults in force, and the process faults that were injected."""

from __future__ import annotations

from typing import NamedTuple

from telemetry.events import FaultInjected, PlanChanged, RunStopped, Stamped
from telemetry.view import View


class InForce(NamedTuple):
    """From `from_us` of the wall clock on these faults were in force, until the next such change."""

    from_us: int
    faults: tuple[str, ...]


class InjectedFault(NamedTuple):
    """A process fault, and when it was injected."""

    at_us: int
    verb: str
    victim: str


class Disturbances:
    """`plans` in order of time, as relay 0 applies them; all relays apply the same. The order to stop is followed by a
    plan without faults, which belongs to no robot's time: it is left out."""

    def __init__(self) -> None:
        self.plans: tuple[InForce, ...] = ()
        self.injections: tuple[InjectedFault, ...] = ()
        self._is_over = False

    @property
    def faults(self) -> tuple[str, ...]:
        """In force now; of a run that is over, at its end."""
        return self.plans[-1].faults if self.plans else ()

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Take a change of the plan, or an injection."""
        match stamped.event:
            case PlanChanged(0, new=new) if not self._is_over and (not self.plans or new != self.faults):
                self.plans = (*self.plans, InForce(stamped.wall_us, new))
            case FaultInjected(verb, victim=victim):
                self.injections = (*self.injections, InjectedFault(stamped.wall_us, verb, victim))
            case RunStopped():
                self._is_over = True

    def copy(self) -> Disturbances:
        other = Disturbances()
        other.plans, other.injections, other._is_over = self.plans, self.injections, self._is_over
        return other
