"""Answers every summary: with the parts that the caller lacks and a list of the parts that are wanted, or with "equal".

It keeps no state: an answer depends on the summary, the latest snapshot and chance alone.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from robots.channel import Channel, Watch
from robots.env import Env
from robots.knowledge import Snapshot, bitmap_of, from_bytes, to_bytes
from robots.messages import Answer, Summary, delta
from robots.workers.mailbox import OutgoingMessage, SummaryReceived


class SummaryProcessor:
    """summaries → outbox. `acknowledge` acknowledges an inbox entry."""

    def __init__(
        self,
        summaries: Channel[SummaryReceived],
        knowledge: Watch[Snapshot],
        outgoing: Channel[OutgoingMessage],
        acknowledge: Callable[[str], None],
        env: Env,
    ) -> None:
        self._summaries = summaries
        self._knowledge = knowledge
        self._outgoing = outgoing
        self._acknowledge = acknowledge
        self._clock = env.clock
        self._chance = env.chance

    async def run(self) -> None:
        while True:
            received = await self._summaries.get()
            mine = self._knowledge.value
            answer = self._answer(received.summary, mine)
            self._outgoing.offer(
                OutgoingMessage(
                    received.cause.sender,
                    received.exchange,
                    answer,
                    self._clock.monotonic_us(),
                    held=mine.count,
                    digest=mine.digest,
                    cause=received.cause,
                )
            )
            if received.entry is not None:
                self._acknowledge(received.entry)

    def _answer(self, summary: Summary, mine: Snapshot) -> Answer:
        return answer_to(summary, mine, self._chance)


def answer_to(summary: Summary, mine: Snapshot, chance: Random) -> Answer:
    """The answer to `summary` of a robot that knows `mine`.

    Hot parts are on their way to the merger, so they are not requested again. But two robots are equal only by what
    they have merged.
    """
    theirs = from_bytes(summary.known)
    if theirs == mine.known:
        return Answer(equal=True, attempt=summary.attempt)
    want = theirs & ~mine.known & ~bitmap_of(part.index for part in summary.hot)
    lacking = mine.known & ~theirs
    start = chance.randrange(lacking.bit_length()) if lacking else 0
    return Answer(parts=delta(mine, lacking, start), want=to_bytes(want), attempt=summary.attempt)
