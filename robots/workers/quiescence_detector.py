"""Detects when nothing new comes any more, from local observations alone: no shared clock, no coordinator.

Quiet: for the quiet period's number of executed ticks, with the inbox drained, nothing new was merged, and at least one
other robot answered "equal" (if any is believed alive). Ticks count, not seconds: a stopped robot receives nothing.
"""

from __future__ import annotations

from robots.channel import Channel, Watch
from robots.env import Env
from robots.knowledge import Snapshot
from robots.workers.mailbox import PeerEqual, Quiet, Ticked
from telemetry.events import RobotDisturbed, RobotQuiet


class QuiescenceDetector:
    """signals → quiet. It withdraws `quiet` as soon as something new is merged."""

    def __init__(
        self,
        signals: Channel[Ticked | PeerEqual],
        knowledge: Watch[Snapshot],
        drained: Watch[bool],
        quiet: Watch[Quiet | None],
        quiet_ticks: int,
        env: Env,
    ) -> None:
        self._signals = signals
        self._knowledge = knowledge
        self._drained = drained
        self._quiet = quiet
        self._quiet_ticks = quiet_ticks
        self._emit = env.emit
        self._known = knowledge.value.known
        self._ticks = 0
        self._equal: bytes | None = None

    async def run(self) -> None:
        while True:
            signal = await self._signals.get()
            self._reset_on_news()
            if signal.known != self._known:
                continue  # the signal is older than the news
            if isinstance(signal, Ticked):
                self._count(signal)
            else:
                self._equal = signal.exchange

    def _reset_on_news(self) -> None:
        known = self._knowledge.value.known
        if known == self._known:
            return
        self._known = known
        self._ticks = 0
        self._equal = None
        if self._quiet.value is not None:
            self._quiet.set(None)
            self._emit(RobotDisturbed())

    def _count(self, tick: Ticked) -> None:
        if not self._drained.value:
            return
        self._ticks += 1
        is_alone = tick.peers_alive == 0
        is_early = self._ticks < self._quiet_ticks or (self._equal is None and not is_alone)
        if is_early or self._quiet.value is not None:
            return
        self._emit(RobotQuiet(self._ticks))
        self._quiet.set(Quiet(self._ticks, self._equal or b"", self._known))
