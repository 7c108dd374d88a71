"""Owns the knowledge: merges, journals, and only then publishes. What a robot has advertised it never forgets.

A contradiction is not repaired: the message is dropped and named, and the worker dies. Its successor begins with the
last published snapshot.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.ports import Journal
from robots.channel import Channel, Watch
from robots.journal import Completed, Entry, PartKept, encode_entry
from robots.knowledge import InvariantViolation, Knowledge, Snapshot
from robots.secret import Part
from robots.workers.notes import Offered
from telemetry.clock import Clock
from telemetry.events import AnyEvent, InvariantViolated, PartsMerged, RobotComplete


class SecretMerger:
    """offers → journal → knowledge. `acknowledge` is the inbox's."""

    def __init__(
        self,
        offers: Channel[Offered],
        knowledge: Watch[Snapshot],
        journal: Journal,
        incarnation: int,
        acknowledge: Callable[[str], None],
        clock: Clock,
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self._offers = offers
        self._published = knowledge
        self._knowledge = Knowledge(knowledge.value)
        self._journal = journal
        self._incarnation = incarnation
        self._acknowledge = acknowledge
        self._clock = clock
        self._emit = emit

    async def run(self) -> None:
        while True:
            offered = await self._offers.get()
            news = self._news_in(offered)
            if news:
                await self._keep(news, offered)
            self._acknowledge(offered.entry)

    def _news_in(self, offered: Offered) -> list[Part]:
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

    async def _keep(self, news: list[Part], offered: Offered) -> None:
        snapshot = self._knowledge.learn(news)
        entries: list[Entry] = [PartKept(part, offered.cause) for part in news]
        if snapshot.complete:
            entries.append(Completed(self._clock.wall_us()))
        await self._journal.append(self._incarnation, [encode_entry(entry) for entry in entries])
        self._published.set(snapshot)
        cause = offered.cause
        self._emit(PartsMerged(cause.sender, cause.incarnation, cause.sequence, cause.copy, len(news), snapshot.count))
        if snapshot.complete:
            self._emit(RobotComplete(snapshot.count))
