"""Answers every summary, always: with the parts the caller lacks and what is wanted of its own, or with "equal".

It neither learns nor remembers: what it says follows from the summary and the latest snapshot alone.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from robots.channel import Channel, Watch
from robots.knowledge import Snapshot, bitmap_of, from_bytes, to_bytes
from robots.messages import Answer, Summary, delta
from robots.workers.mailbox import OutgoingMessage, SummaryReceived


class SummaryProcessor:
    """summaries → outbox. `acknowledge` is the inbox's."""

    def __init__(
        self,
        summaries: Channel[SummaryReceived],
        knowledge: Watch[Snapshot],
        outgoing: Channel[OutgoingMessage],
        acknowledge: Callable[[str], None],
        chance: Random,
    ) -> None:
        self._summaries = summaries
        self._knowledge = knowledge
        self._outgoing = outgoing
        self._acknowledge = acknowledge
        self._chance = chance

    async def run(self) -> None:
        while True:
            asked = await self._summaries.get()
            answer = answer_to(asked.summary, self._knowledge.value, self._chance)
            self._outgoing.offer(OutgoingMessage(asked.sender, asked.exchange, answer))
            if asked.entry is not None:
                self._acknowledge(asked.entry)


def answer_to(summary: Summary, mine: Snapshot, chance: Random) -> Answer:
    """What a robot that holds `mine` says to `summary`.

    Hot parts that are still on their way to the merger are not asked for again; but only what is merged counts when two
    robots call each other equal.
    """
    theirs = from_bytes(summary.known)
    if theirs == mine.known:
        return Answer(equal=True, attempt=summary.attempt)
    want = theirs & ~mine.known & ~bitmap_of(part.index for part in summary.hot)
    lacking = mine.known & ~theirs
    start = chance.randrange(lacking.bit_length()) if lacking else 0
    return Answer(parts=delta(mine, lacking, start), want=to_bytes(want), attempt=summary.attempt)
