"""Broken robots: each class breaks one worker, or the supervisor inside a robot, in one way. The network and the leader
are as they should be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from robots.channel import Watch
from robots.knowledge import Knowledge, Snapshot
from robots.secret import Part
from robots.workers.secret_merger import SecretMerger


class _OtherKnowledge(SecretMerger):
    """A merger with another kind of knowledge."""

    kind: ClassVar[type[Knowledge]]

    def __init__(self, knowledge: Watch[Snapshot], **more: Any) -> None:
        super().__init__(knowledge=knowledge, **more)
        self._knowledge = self.kind(knowledge.value)


class _Repetitive(Knowledge):
    """Everything that comes is news."""

    def news(self, parts: Iterable[Part]) -> list[Part]:
        super().news(parts)
        return list(parts)

    def learn(self, news: Iterable[Part]) -> Snapshot:
        return super().learn(super().news(news))


class MergesAgain(_OtherKnowledge):
    """Merges and journals a part that is known already."""

    kind = _Repetitive
