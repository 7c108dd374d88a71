"""The port between the inbox and the workers: decodes, drops garbage and repeats, and hands on what is left.

It acknowledges only what it drops; what it hands on is acknowledged by the worker that has dealt with it. While the
server is away nothing comes, which is no crash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from broker.envelope import Envelope, Garbage, decode
from broker.ports.robot import Delivery, Inbox
from robots.channel import Channel, Watch
from robots.journal import Cause
from robots.knowledge import from_bytes
from robots.messages import Answer, Message, Summary, decode_message, parts_of
from robots.supervision import until_answered
from robots.workers.mailbox import PartsReceived, PeerHeard, SummaryReceived
from telemetry.events import (
    AnyEvent,
    InboxOverflowed,
    MessageReceived,
    MessageRefused,
    MessageRepeated,
    MessageTrimmed,
)

BATCH: Final = 64  # entries a read
READ_US: Final = 1_000_000
WINDOW: Final = 4096  # numbers behind a sender's newest for which copies are remembered


class Deduplicator:
    """Which copies have been seen, per sender and incarnation. It outlives the reader's crashes."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, int], int] = {}
        self._seen: dict[tuple[str, int], dict[tuple[int, int], None]] = {}

    def late(self, envelope: Envelope) -> int:
        """How many numbers behind the newest of its sender's life an envelope comes; 0 if it is the newest."""
        life = (envelope.sender, envelope.incarnation)
        newest = self._newest.get(life, 0)
        self._newest[life] = max(newest, envelope.sequence)
        return max(0, newest - envelope.sequence)

    def is_repeat(self, envelope: Envelope, copy: int) -> bool:
        """Whether this very copy was seen before; it is remembered from now on."""
        seen = self._seen.setdefault((envelope.sender, envelope.incarnation), {})
        if (envelope.sequence, copy) in seen:
            return True
        seen[envelope.sequence, copy] = None
        if len(seen) > WINDOW:
            del seen[next(iter(seen))]
        return False


class Unacknowledged:
    """Entries that were handed out and not yet acknowledged. It outlives the crashes of all who use it.

    After any trouble an inbox hands out its pending entries again; one that is still in hand is no news.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._entries: dict[str, None] = {}
        self.unread: deque[Delivery] = deque()  # received, and not yet looked at
        self.lost_told = 0  # of `lost`

    @property
    def lost(self) -> int:
        """Entries that were trimmed before they were read, in this life so far."""
        return self._inbox.lost

    @property
    def is_settled(self) -> bool:
        """Whether all that was handed on is dealt with. What nobody has looked at yet will come again."""
        return len(self._entries) == len(self.unread)

    async def receive(self) -> int:
        """Put what comes into `unread`; how many entries came."""
        batch = await until_answered(lambda: self._inbox.receive(BATCH, READ_US))
        self.unread.extend(delivery for delivery in batch if delivery.entry not in self._entries)
        self._entries.update(dict.fromkeys(delivery.entry for delivery in batch))
        return len(batch)

    def acknowledge(self, entry: str) -> None:
        """The entry is dealt with."""
        self._entries.pop(entry, None)
        self._inbox.acknowledge(entry)


class InboxReader:
    """inbox → summary_processor, secret_merger, gossip_initiator."""

    def __init__(
        self,
        me: str,
        unacknowledged: Unacknowledged,
        repeats: Deduplicator,
        summaries: Channel[SummaryReceived],
        offers: Channel[PartsReceived],
        heard: Channel[PeerHeard],
        drained: Watch[bool],
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self._me = me
        self._unacknowledged = unacknowledged
        self._deduplicator = repeats
        self._summaries = summaries
        self._offers = offers
        self._heard = heard
        self._drained = drained
        self._emit = emit

    async def run(self) -> None:
        unread = self._unacknowledged.unread
        while True:
            while unread:  # a predecessor may have left some
                await self._take(unread.popleft())
            is_drained = await self._unacknowledged.receive() < BATCH
            self._tell_overflow(is_drained)
            self._drained.value = is_drained

    def _tell_overflow(self, is_over: bool) -> None:
        """A loss, whenever it has doubled, and what it came to in the end: a storm is told in a few lines."""
        lost, told = self._unacknowledged.lost, self._unacknowledged.lost_told
        if lost > told and (is_over or lost >= 2 * told):
            self._unacknowledged.lost_told = lost
            self._emit(InboxOverflowed(lost))

    async def _take(self, delivery: Delivery) -> None:
        if delivery.frame is None:
            self._emit(MessageTrimmed(delivery.entry))
            self._unacknowledged.acknowledge(delivery.entry)
            return
        envelope = decode(delivery.frame)
        if isinstance(envelope, Garbage):
            self._refuse(delivery, envelope)
            return
        message = decode_message(envelope.kind, envelope.body)
        if isinstance(message, Garbage) or envelope.receiver != self._me:
            self._refuse(delivery, message if isinstance(message, Garbage) else Garbage("not for this robot"))
            return
        if self._deduplicator.is_repeat(envelope, delivery.copy):
            self._emit(MessageRepeated(envelope.sender, envelope.incarnation, envelope.sequence, delivery.copy))
            self._unacknowledged.acknowledge(delivery.entry)
            return
        self._tell(envelope, delivery.copy)
        await self._hand_on(envelope, message, delivery)

    def _refuse(self, delivery: Delivery, garbage: Garbage) -> None:
        self._emit(MessageRefused(delivery.entry, garbage.reason))
        self._unacknowledged.acknowledge(delivery.entry)

    def _tell(self, envelope: Envelope, copy: int) -> None:
        self._emit(
            MessageReceived(
                sender=envelope.sender,
                sender_incarnation=envelope.incarnation,
                sequence=envelope.sequence,
                copy=copy,
                kind=envelope.kind,
                exchange=envelope.exchange.hex(),
                late=self._deduplicator.late(envelope),
            )
        )

    async def _hand_on(self, envelope: Envelope, message: Message, delivery: Delivery) -> None:
        """Parts to the merger, which acks the entry once they are journalled; questions to the processor; and news of
        the sender to the initiator, which may miss some without harm."""
        parts = parts_of(message)
        cause = Cause(envelope.sender, envelope.incarnation, envelope.sequence, delivery.copy)
        holds = 0
        for part in parts:
            holds |= 1 << part.index
        if parts:
            await self._offers.put(PartsReceived(parts, cause, delivery.entry))
        if isinstance(message, Summary):
            holds |= from_bytes(message.known)
            entry = None if parts else delivery.entry
            await self._summaries.put(SummaryReceived(envelope.sender, envelope.exchange, message, entry))
            self._heard.offer(PeerHeard(envelope.sender, envelope.exchange, holds, peers=message.peers))
        else:
            answer = message if isinstance(message, Answer) else None
            self._heard.offer(PeerHeard(envelope.sender, envelope.exchange, holds, answer=answer))
            if not parts:
                self._unacknowledged.acknowledge(delivery.entry)
