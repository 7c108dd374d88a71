"""Owns the knowledge: merges, journals, and only then publishes. So a robot never forgets what it has advertised.

A contradictory update is not repaired: the merger drops the message, reports it and crashes. The next merger starts
from the journal: the last good snapshot, even if the crash came between journal and publication.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.ports.robot import Journal
from robots.channel import Channel, Watch
from robots.env import Env
from robots.journal import Cause, Completed, Entry, PartKept, decode_entry, encode_entry, parts_in
from robots.knowledge import InvariantViolation, Knowledge, Snapshot
from robots.secret import Part
from robots.supervision import until_answered
from robots.workers.mailbox import PartsReceived
from telemetry.events import InvariantViolated, PartsMerged, RobotComplete


class SecretMerger:
    """parts → journal → knowledge. `acknowledge` acknowledges an inbox entry. `is_successor`: an earlier merger of this
    life has crashed."""

    def __init__(
        self,
        parts: Channel[PartsReceived],
        knowledge: Watch[Snapshot],
        journal: Journal,
        incarnation: int,
        is_successor: bool,
        acknowledge: Callable[[str], None],
        env: Env,
    ) -> None:
        self._parts = parts
        self._published = knowledge
        self._knowledge = Knowledge(knowledge.value)
        self._journal = journal
        self._incarnation = incarnation
        self._is_successor = is_successor
        self._acknowledge = acknowledge
        self._clock = env.clock
        self._emit = env.emit

    async def run(self) -> None:
        if self._is_successor:
            await self._catch_up()
        while True:
            received = await self._parts.get()
            news = self._news_in(received)
            if news:
                await self._keep(news, received)
            self._acknowledge(received.entry)

    async def _catch_up(self) -> None:
        """Publish what is journalled and was not published. It came with one message: the news of each message is
        published before the next one is handled."""
        rows = await until_answered(self._journal.replay)
        entries = [decode_entry(row.content) for row in rows]
        news = self._knowledge.news(parts_in(entries))
        if news:
            cause = [entry.cause for entry in entries if isinstance(entry, PartKept)][-1]
            assert cause is not None, "what was dealt was published at birth"
            self._publish(self._knowledge.learn(news), news, cause)

    def _news_in(self, received: PartsReceived) -> list[Part]:
        try:
            return self._knowledge.news(received.parts)
        except InvariantViolation as violation:
            self._acknowledge(received.entry)
            self._emit(
                InvariantViolated(
                    invariant=violation.invariant,
                    detail=violation.detail,
                    index=violation.index,
                    sender=received.cause.sender,
                    sender_incarnation=received.cause.incarnation,
                    sequence=received.cause.sequence,
                    copy=received.cause.copy,
                )
            )
            raise

    async def _keep(self, news: list[Part], received: PartsReceived) -> None:
        snapshot = self._knowledge.learn(news)
        entries: list[Entry] = [PartKept(part, received.cause) for part in news]
        if snapshot.complete:
            entries.append(Completed(self._clock.wall_us()))
        contents = [encode_entry(entry) for entry in entries]
        await until_answered(lambda: self._journal.append(self._incarnation, contents))
        self._publish(snapshot, news, received.cause)

    def _publish(self, snapshot: Snapshot, news: list[Part], cause: Cause) -> None:
        self._published.set(snapshot)
        indices = tuple(part.index for part in news)
        self._emit(PartsMerged(cause.sender, cause.incarnation, cause.sequence, cause.copy, indices, snapshot.count))
        if snapshot.complete:
            self._emit(RobotComplete(snapshot.count))
