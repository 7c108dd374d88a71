"""When the successors of a parent's dead children are due: the restart policy, by name. Starts no process, and does not
sleep.
"""

from __future__ import annotations

import time
from collections import defaultdict
from random import Random

from robots.supervision import GiveUp, RestartAfter, RestartPolicy


class RestartSchedule:
    """Times are seconds of `time.monotonic()`."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._deaths_us: defaultdict[str, list[int]] = defaultdict(list)
        self._due_s: dict[str, float] = {}

    def died(self, name: str, is_charged: bool = True) -> RestartAfter | GiveUp:
        """The policy's decision about a death just now; a successor is due after its delay, or never. A death by an
        injection is not charged."""
        now_us, deaths_us, chance = time.monotonic_ns() // 1000, self._deaths_us[name], Random().random()  # noqa: S311
        decision: RestartAfter | GiveUp
        if is_charged:
            deaths_us.append(now_us)
            decision = self._policy.decide(deaths_us, now_us, chance)
        else:
            decision = self._policy.excuse(deaths_us, now_us, chance)
        if isinstance(decision, RestartAfter):
            self._due_s[name] = (now_us + decision.delay_us) / 1e6
        return decision

    @property
    def due_s(self) -> float | None:
        """When the first successor is due, if any is."""
        return min(self._due_s.values(), default=None)

    def take_due(self, now_s: float) -> list[str]:
        """The names whose successor is due by now. Each is given once."""
        names = [name for name, due_s in self._due_s.items() if due_s <= now_s]
        for name in names:
            del self._due_s[name]
        return names

    def cease(self) -> None:
        """From here on no successor is due."""
        self._due_s.clear()
