"""Decides alone that the robot is done: complete and quiet. Only then it tries to write the secret, once.

The register decides between robots that try at the same time. The first refusal is final.
"""

from __future__ import annotations

import asyncio

from broker.errors import RegisterLost
from broker.ports.robot import Journal, Register
from robots.channel import Watch
from robots.env import Env
from robots.journal import Quieted, encode_entry
from robots.knowledge import Snapshot
from robots.supervision import until_answered
from robots.workers.mailbox import Quiet
from telemetry.events import EvidenceLost, SecretRefused, SecretWritten


class ConvergenceDetector:
    """quiet → register."""

    def __init__(
        self,
        quiet: Watch[Quiet | None],
        knowledge: Watch[Snapshot],
        journal: Journal,
        register: Register,
        incarnation: int,
        env: Env,
    ) -> None:
        self._quiet = quiet
        self._knowledge = knowledge
        self._journal = journal
        self._register = register
        self._incarnation = incarnation
        self._clock = env.clock
        self._emit = env.emit

    async def run(self) -> None:
        quiet = await self._quiet.until(self._may_write)
        assert quiet is not None
        entry = Quieted(quiet.ticks, quiet.exchange.hex(), self._clock.wall_us())
        await until_answered(lambda: self._journal.append(self._incarnation, [encode_entry(entry)]))
        await self._write(self._knowledge.value.text().encode())
        await asyncio.get_running_loop().create_future()  # nothing is left to decide; a worker never returns

    def _may_write(self, quiet: Quiet | None) -> bool:
        """Complete, and quiet with the same knowledge: a quiet period from before the last news does not count."""
        mine = self._knowledge.value
        return quiet is not None and mine.complete and quiet.known == mine.known

    async def _write(self, secret: bytes) -> None:
        try:
            durability = await until_answered(lambda: self._try(secret))
        except RegisterLost:
            self._emit(EvidenceLost("register"))
            return
        if durability is None:
            self._emit(SecretRefused())
        else:
            self._emit(SecretWritten(len(secret), durability))

    async def _try(self, secret: bytes) -> str | None:
        return await self._register.write(secret)
