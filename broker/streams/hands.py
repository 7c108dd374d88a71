"""What chaos does to a run on its server, beside what it does to processes. For experiments alone: nothing that takes
part in a run may use it.
"""

from __future__ import annotations

from typing import Any

import redis

from broker.ports import RunGone
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.mail import INBOX_LIMIT
from broker.streams.patience import insist_blocking


class StreamHands:
    """Hands on the streams of one run. Every method tries once, and raises Unavailable when it cannot know."""

    def __init__(self, client: redis.Redis, run: str) -> None:
        self._client = client
        self._keys = Keys(run)

    def order_crash(self, victim: str) -> None:
        """Give the order `crash`: `r03/secret_merger`. Raises RunGone as well."""
        fields: dict[Any, Any] = {keys.ORDER: b"crash", keys.WORDS: victim.encode()}
        orders = self._keys.orders
        added = insist_blocking("crash", lambda: self._client.xadd(orders, fields, nomkstream=True), patience_s=0)
        if added is None:
            raise RunGone

    def slip(self, robot: str, frame: bytes) -> bool:
        """Put a frame into a robot's inbox, past all relays; False when there is no such inbox."""
        fields: dict[Any, Any] = {keys.ENVELOPE: frame, keys.COPY: 0}
        inbox = self._keys.inbox(robot)
        added = insist_blocking(
            "contradiction",
            lambda: self._client.xadd(inbox, fields, nomkstream=True, maxlen=INBOX_LIMIT, approximate=True),
            patience_s=0,
        )
        return added is not None

    def forget_journal(self, robot: str) -> None:
        """Delete a robot's journal, for good."""
        insist_blocking("amnesia", lambda: self._client.delete(self._keys.journal(robot)), patience_s=0)
