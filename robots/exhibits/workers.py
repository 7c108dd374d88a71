"""Broken robots: each class breaks one worker, or the supervisor inside a robot, in one way. The relays and the leader
are as they should be, except for the one exhibit that needs both (`no-fencing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from broker.faults.process_faults import WORKERS
from robots.journal import Cause
from robots.knowledge import InvariantViolation, Knowledge, Snapshot
from robots.messages import Answer, Summary, Update, delta
from robots.secret import Part, join
from robots.supervision import Child, GiveUp, RestartAfter, Supervisor
from robots.workers.convergence_detector import ConvergenceDetector
from robots.workers.gossip_initiator import GossipInitiator
from robots.workers.mailbox import OutgoingMessage
from robots.workers.outbox_writer import OutboxWriter
from robots.workers.quiescence_detector import QuiescenceDetector
from robots.workers.secret_merger import SecretMerger
from robots.workers.summary_processor import SummaryProcessor

_UNUSED: Final = 1 << 20  # sequence numbers from here on, which no life before has used


# What a robot writes, and when.


class WritesUnderAnyId(ConvergenceDetector):
    """Writes the secret under an id that leaves room for others, so that the register accepts each of them."""

    async def _try(self, secret: bytes) -> str | None:
        return await self._register.write(secret, f"{self._clock.wall_us()}-0")


class LeavesLastWordOut(ConvergenceDetector):
    """Takes the part before the last one for the last."""

    async def _write(self, secret: bytes) -> None:
        del secret
        await super()._write(join(self._knowledge.value.parts()[:-1]).encode())


class WaitsForOneTick(QuiescenceDetector):
    """Takes one tick without news for the whole quiet period."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{**arguments, "quiet_ticks": 1})


class BornQuiet(QuiescenceDetector):
    """Counts the ticks of the quiet period as executed when the robot was born complete."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self._knowledge.value.complete:
            self._ticks = self._quiet_ticks


# What a robot knows.


class _OtherKnowledge(SecretMerger):
    """A merger with another kind of knowledge."""

    kind: ClassVar[type[Knowledge]]

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._knowledge = self.kind(self._published.value)


class _Repetitive(Knowledge):
    def news(self, parts: Iterable[Part]) -> list[Part]:
        came = list(parts)
        super().news(came)
        return came

    def learn(self, news: Iterable[Part]) -> Snapshot:
        return super().learn(super().news(news))


class MergesAgain(_OtherKnowledge):
    """Merges and journals a part that is known already."""

    kind = _Repetitive


class _Credulous(Knowledge):
    def news(self, parts: Iterable[Part]) -> list[Part]:
        came = list(parts)
        try:
            return super().news(came)
        except InvariantViolation:
            return came

    def learn(self, news: Iterable[Part]) -> Snapshot:
        learnt = list(news)
        unknown = [part for part in learnt if part.index not in self._store]
        self._store.update((part.index, part) for part in learnt if part not in unknown)
        return super().learn(unknown)


class Overwrites(_OtherKnowledge):
    """Lets a contradictory update replace the word that is known."""

    kind = _Credulous


class _Silent(Knowledge):
    def news(self, parts: Iterable[Part]) -> list[Part]:
        try:
            return super().news(parts)
        except InvariantViolation:
            return []


class SwallowsContradictions(_OtherKnowledge):
    """Drops a contradictory update without a crash and without an event."""

    kind = _Silent


class Forgets(SecretMerger):
    """Forgets its lowest part whenever it learns others, until it is complete."""

    def _publish(self, snapshot: Snapshot, news: list[Part], cause: Cause) -> None:
        kept = snapshot if snapshot.complete else Knowledge().learn(snapshot.parts()[1:])
        super()._publish(kept, news, cause)


# What a robot sends.


class AnswersWithAll(SummaryProcessor):
    """Sends all that it knows in every answer."""

    def _answer(self, summary: Summary, mine: Snapshot) -> Answer:
        answer = super()._answer(summary, mine)
        return answer if answer.equal else replace(answer, parts=delta(mine, mine.known, 0))


class UpdatesWithAll(GossipInitiator):
    """Sends all that it knows in every update."""

    def _update(self, want: int) -> Update:
        del want
        return super()._update(self._knowledge.value.known)


class NeverGossips(GossipInitiator):
    """Begins no exchange."""

    def _begin(self, peer: str, mine: Snapshot, now: int) -> None:
        del peer, mine, now


class SpeaksAsOlderLife(OutboxWriter):
    """Sends in the name of the life before, as that one would if it lived on."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self._life.incarnation > 1:
            self._life = replace(self._life, incarnation=self._life.incarnation - 1)

    async def _send(self, outgoing: OutgoingMessage) -> None:
        self._sequences.setdefault(outgoing.receiver, _UNUSED)
        await super()._send(outgoing)


# The supervisor inside a robot.


class RestartsNothing(Supervisor):
    """Reports that it restarts a crashed child, and does not."""

    def _start(self, child: Child, *more: Any) -> None:
        if child.name not in self._tasks:
            super()._start(child, *more)


class TakesSiblingsDown(Supervisor):
    """Ends all other workers for good, in silence, when one of them crashes."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._taken_down: set[str] = set()

    def _on_done(self, child: Child, task: asyncio.Task[None]) -> None:
        if child.name in self._taken_down:
            return
        super()._on_done(child, task)
        if child.name in WORKERS and not self._ended.done():
            self._taken_down = {*WORKERS} - {child.name}
            for name in WORKERS:
                if name != child.name:
                    self._tasks[name].cancel()


class BacksOffNever(Supervisor):
    """Takes every crash for the first one, and restarts after the shortest delay."""

    def _decide(self, is_charged: bool) -> RestartAfter | GiveUp:
        decision = super()._decide(is_charged)
        return decision if isinstance(decision, GiveUp) else RestartAfter(1, self._policy.first_delay_us)


class RestartsAtOnce(Supervisor):
    """Restarts a crashed child at once, and reports a delay."""

    def _on_done(self, child: Child, task: asyncio.Task[None]) -> None:
        before = len(self._alarms)
        super()._on_done(child, task)
        if len(self._alarms) > before:
            self._alarms.pop().cancel()
            self._start(child, is_restart=True)
