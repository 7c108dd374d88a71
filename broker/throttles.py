"""How fast pairs may go: the one fault with a memory, which lasts as long as one relay's life. It only delays.

Nobody waits for it longer than LONGEST_WAIT_US; what would have to wait longer passes then, faster than the throttle
allows. Without that bound a slow throttle would fill its relay, which then reads nothing more, no `heal` either, for
as long as the last one has to wait; and what a shard may hold in all is bounded. So a relay that is full of what
throttles keep waiting reads on in a few seconds, however much there is: waits count from when an entry was put out.

Everything else that decides a fate is in broker/plan.py, and pure.
"""

from __future__ import annotations

from typing import Final

from broker.faults import Deliveries

LONGEST_WAIT_US: Final = 5_000_000
PAIRS_LIMIT: Final = 65_536  # pairs remembered; beyond it, those that are free soonest are forgotten


class Throttles:
    """When each throttled pair (sender, receiver) is free again, by throttle."""

    def __init__(self) -> None:
        self._free_us: dict[tuple[int, str, str], int] = {}

    def __len__(self) -> int:
        return len(self._free_us)

    def slow(
        self, throttles: tuple[tuple[int, int], ...], sender: str, receiver: str, sent_us: int, deliveries: Deliveries
    ) -> Deliveries:
        """The deliveries of an envelope that passes `throttles` (instance, microseconds per envelope), all put back
        by the time that its first one has to wait, at most LONGEST_WAIT_US. Envelopes come in the order of `sent_us`
        (server's clock)."""
        arrival_us = departure_us = sent_us + deliveries[0]
        for instance, interval_us in throttles:
            gate = (instance, sender, receiver)
            free_us = self._free_us.pop(gate, 0)
            departure_us = min(max(departure_us, free_us), arrival_us + LONGEST_WAIT_US)
            self._free_us[gate] = departure_us + interval_us
        if len(self._free_us) > PAIRS_LIMIT:
            self._forget(sent_us)
        wait_us = departure_us - arrival_us
        return tuple(delay_us + wait_us for delay_us in deliveries) if wait_us else deliveries

    def _forget(self, now_us: int) -> None:
        """Forget those that are free by now: nothing that is sent later meets them. Then half of the others."""
        waiting = [(free_us, gate) for gate, free_us in self._free_us.items() if free_us > now_us]
        waiting.sort()
        self._free_us = {gate: free_us for free_us, gate in waiting[-PAIRS_LIMIT // 2 :]}
