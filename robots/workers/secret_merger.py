"""Owns the knowledge: merges, journals, and only then publishes. What a robot has advertised it never forgets.

A contradiction is not repaired: the message is dropped and named, and the worker dies. Its successor begins with what
the journal holds: the last good snapshot, even if the crash came between journal and publication.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.ports.robot import Journal
from robots.channel import Channel, Watch
from robots.journal import Cause, Completed, Entry, PartKept, decode_entry, encode_entry, parts_in
from robots.knowledge import InvariantViolation, Knowledge, Snapshot
from robots.secret import Part
from robots.supervision import until_answered
from robots.workers.mailbox import PartsReceived
from telemetry.clock import Clock
from telemetry.events import AnyEvent, InvariantViolated, PartsMerged, RobotComplete


class SecretMerger:
    """offers → journal → knowledge. `acknowledge` is the inbox's."""

    def __init__(
        self,
        offers: Channel[PartsReceived],
        knowledge: Watch[Snapshot],
        journal: Journal,
        incarnation: int,
        is_successor: bool,
        acknowledge: Callable[[str], None],
        clock: Clock,
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self._offers = offers
        self._published = knowledge
        self._knowledge = Knowledge(knowledge.value)
        self._journal = journal
        self._incarnation = incarnation
        self._is_successor = is_successor
        self._acknowledge = acknowledge
        self._clock = clock
        self._emit = emit

    async def run(self) -> None:
        if self._is_successor:
            await self._catch_up()
        while True:
            offered = await self._offers.get()
            news = self._news_in(offered)
            if news:
                await self._keep(news, offered)
            self._acknowledge(offered.entry)

    async def _catch_up(self) -> None:
        """Publish what is journalled and was not published: the news of one offer, because those of each are published
        before the next is looked at."""
        rows = await until_answered(self._journal.replay)
        entries = [decode_entry(row.content) for row in rows]
        news = self._knowledge.news(parts_in(entries))
        if news:
            cause = [entry.cause for entry in entries if isinstance(entry, PartKept)][-1]
            assert cause is not None, "what was dealt was published at birth"
            self._publish(self._knowledge.learn(news), len(news), cause)

    def _news_in(self, offered: PartsReceived) -> list[Part]:
        try:
            return self._knowledge.news(offered.parts)
        except InvariantViolation as violation:
            self._acknowledge(offered.entry)
            self._emit(
                InvariantViolated(
                    invariant=violation.invariant,
                    detail=violation.detail,
                    index=violation.index,
                    sender=offered.cause.sender,
                    sender_incarnation=offered.cause.incarnation,
                    sequence=offered.cause.sequence,
                    copy=offered.cause.copy,
                )
            )
            raise

    async def _keep(self, news: list[Part], offered: PartsReceived) -> None:
        snapshot = self._knowledge.learn(news)
        entries: list[Entry] = [PartKept(part, offered.cause) for part in news]
        if snapshot.complete:
            entries.append(Completed(self._clock.wall_us()))
        contents = [encode_entry(entry) for entry in entries]
        await until_answered(lambda: self._journal.append(self._incarnation, contents))
        self._publish(snapshot, len(news), offered.cause)

    def _publish(self, snapshot: Snapshot, merged: int, cause: Cause) -> None:
        self._published.set(snapshot)
        self._emit(PartsMerged(cause.sender, cause.incarnation, cause.sequence, cause.copy, merged, snapshot.count))
        if snapshot.complete:
            self._emit(RobotComplete(snapshot.count))
