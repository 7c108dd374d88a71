"""Who is dead among a parent's children, and when the next of the name is to start: the restart policy, kept by name.

Nobody is started here, and nobody sleeps: a parent has others to look after.
"""

from __future__ import annotations

import time
from collections import defaultdict
from random import Random

from robots.supervision import GiveUp, Restart, RestartPolicy


class RestartSchedule:
    """Times are seconds of `time.monotonic()`."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._deaths_us: defaultdict[str, list[int]] = defaultdict(list)
        self._due_s: dict[str, float] = {}

    def died(self, name: str, is_charged: bool = True) -> Restart | GiveUp:
        """What the policy says of a death just now; a successor is then due after its delay, or never. A death that
        the lab brought about is not charged."""
        now_us, deaths_us, chance = time.monotonic_ns() // 1000, self._deaths_us[name], Random().random()  # noqa: S311
        decision: Restart | GiveUp
        if is_charged:
            deaths_us.append(now_us)
            decision = self._policy.decide(deaths_us, now_us, chance)
        else:
            decision = self._policy.excuse(deaths_us, now_us, chance)
        if isinstance(decision, Restart):
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
        """Nobody is due any more."""
        self._due_s.clear()
