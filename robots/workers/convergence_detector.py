"""Decides alone that the work is done: complete and quiet, and only then tries to write the secret, once.

The register decides between robots that try at the same time. The first refusal is final.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from broker.ports import Journal, Register, RegisterLost, Unavailable
from robots.channel import Channel, Watch
from robots.journal import Quieted, encode_entry
from robots.knowledge import Snapshot
from robots.workers.notes import Quiet
from telemetry.clock import Clock
from telemetry.events import AnyEvent, EvidenceLost, SecretRefused, SecretWritten

PAUSE_S: Final = 0.5  # between tries while the server is away


class ConvergenceDetector:
    """quiet → register."""

    def __init__(
        self,
        quiet: Channel[Quiet],
        knowledge: Watch[Snapshot],
        journal: Journal,
        register: Register,
        incarnation: int,
        clock: Clock,
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self._quiet = quiet
        self._knowledge = knowledge
        self._journal = journal
        self._register = register
        self._incarnation = incarnation
        self._clock = clock
        self._emit = emit

    async def run(self) -> None:
        settled = False
        while True:
            quiet = await self._quiet.get()
            mine = self._knowledge.value
            if mine.complete and not settled:
                entry = Quieted(quiet.ticks, quiet.exchange.hex(), self._clock.wall_us())
                await self._journal.append(self._incarnation, [encode_entry(entry)])
                await self._write(mine.text().encode())
                settled = True

    async def _write(self, secret: bytes) -> None:
        try:
            durability = await self._try_until_answered(secret)
        except RegisterLost:
            self._emit(EvidenceLost("register"))
            return
        if durability is None:
            self._emit(SecretRefused())
        else:
            self._emit(SecretWritten(len(secret), durability))

    async def _try_until_answered(self, secret: bytes) -> str | None:
        while True:
            try:
                return await self._register.write(secret)
            except Unavailable:
                await asyncio.sleep(PAUSE_S)
