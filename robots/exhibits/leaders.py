"""Broken leaders: each class leaves a part of the fault plan undone. Robots and relays are as they should be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from broker.faults.message_faults import Partition
from broker.faults.schedule import Due, Timed
from broker.faults.scheduler import PlanScheduler
from broker.faults.shaping_faults import Loss
from broker.ports.run import FleetLog
from robots.run.chaos import Chaos, Injector
from telemetry.events import AnyEvent


class LeavesLossOut(PlanScheduler):
    """Puts no loss into any plan change."""

    def __init__(self, plan: Iterable[Timed], for_us: int) -> None:
        super().__init__([planned for planned in plan if not isinstance(planned.line.fault, Loss)], for_us)


class LeavesPartitionsOut(PlanScheduler):
    """Puts no partition into any plan change."""

    def __init__(self, plan: Iterable[Timed], for_us: int) -> None:
        super().__init__([planned for planned in plan if not isinstance(planned.line.fault, Partition)], for_us)


class InjectsNothing(Chaos):
    """Drops every process fault that is due, and records nothing."""

    def play(self, dues: Iterable[Due], living: Collection[str]) -> None:
        del dues, living


class _Pretender:
    """An injector that says that it has done everything, and kills nothing."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector

    def can(self, verb: str, name: str) -> bool:
        return self._injector.can(verb, name)

    def inject(self, verb: str, victim: str) -> bool:
        return verb == "kill" or self._injector.inject(verb, victim)


class PretendsToKill(Chaos):
    """Records every kill, and lets the victim live."""

    def __init__(
        self, seed: int, robots: int, log: FleetLog, injector: Injector, emit: Callable[[AnyEvent], None]
    ) -> None:
        super().__init__(seed, robots, log, _Pretender(injector), emit)
