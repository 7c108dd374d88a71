"""The port between the inbox and the workers: decodes, drops garbage and repeats, and dispatches the rest.

It acknowledges only what it drops. What it dispatches is acknowledged by the worker that has processed it. While the
server is away nothing comes; that is no crash.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from broker.envelope import Envelope, Garbage, decode
from broker.ports.robot import Delivery, Inbox
from robots.channel import Channel, Watch
from robots.env import Env
from robots.journal import Cause
from robots.knowledge import from_bytes
from robots.messages import Answer, Message, Summary, decode_message, parts_of
from robots.supervision import until_answered
from robots.workers.mailbox import PartsReceived, PeerHeard, SummaryReceived
from telemetry.events import (
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
    """Remembers which copies have been seen, per sender and incarnation. It outlives the reader's crashes."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, int], int] = {}
        self._seen: dict[tuple[str, int], dict[tuple[int, int], None]] = {}

    def late(self, envelope: Envelope) -> int:
        """By how many numbers an envelope comes after the newest of its sender's life; 0 if it is the newest."""
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
    """Inbox entries that were received and not yet acknowledged. It outlives the crashes of the workers that use it.

    After an error an inbox delivers its pending entries again. One that is still unacknowledged here is skipped.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._entries: dict[str, None] = {}
        self.unread: deque[Delivery] = deque()  # received, and not yet decoded
        self.lost_reported = 0  # of `lost`

    @property
    def lost(self) -> int:
        """Entries that were trimmed before they were read, in this life so far."""
        return self._inbox.lost

    @property
    def is_settled(self) -> bool:
        """Whether every dispatched entry is acknowledged. Unread entries do not count: they will be delivered again."""
        return len(self._entries) == len(self.unread)

    async def receive(self) -> int:
        """Put new entries into `unread`; returns how many came."""
        batch = await until_answered(lambda: self._inbox.receive(BATCH, READ_US))
        self.unread.extend(delivery for delivery in batch if delivery.entry not in self._entries)
        self._entries.update(dict.fromkeys(delivery.entry for delivery in batch))
        return len(batch)

    def acknowledge(self, entry: str) -> None:
        """The entry is processed: acknowledge it to the inbox, and forget it."""
        self._entries.pop(entry, None)
        self._inbox.acknowledge(entry)


class InboxReader:
    """inbox → summary_processor, secret_merger, gossip_initiator."""

    def __init__(
        self,
        me: str,
        unacknowledged: Unacknowledged,
        deduplicator: Deduplicator,
        summaries: Channel[SummaryReceived],
        parts: Channel[PartsReceived],
        peers_heard: Channel[PeerHeard],
        drained: Watch[bool],
        env: Env,
    ) -> None:
        self._me = me
        self._unacknowledged = unacknowledged
        self._deduplicator = deduplicator
        self._summaries = summaries
        self._parts = parts
        self._peers_heard = peers_heard
        self._drained = drained
        self._emit = env.emit

    async def run(self) -> None:
        unread = self._unacknowledged.unread
        while True:
            while unread:  # a predecessor may have left some
                await self._receive(unread.popleft())
            is_drained = await self._unacknowledged.receive() < BATCH
            self._report_overflow(is_drained)
            self._drained.value = is_drained

    def _report_overflow(self, is_over: bool) -> None:
        """Report a loss whenever it has doubled, and its final size: so a big one takes only a few events."""
        lost, reported = self._unacknowledged.lost, self._unacknowledged.lost_reported
        if lost > reported and (is_over or lost >= 2 * reported):
            self._unacknowledged.lost_reported = lost
            self._emit(InboxOverflowed(lost))

    async def _receive(self, delivery: Delivery) -> None:
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
        self._report(envelope, delivery)
        await self._dispatch(envelope, message, delivery)

    def _refuse(self, delivery: Delivery, garbage: Garbage) -> None:
        claimed = garbage.claimed
        if claimed is None:
            self._emit(MessageRefused(delivery.entry, garbage.reason))
        else:
            self._emit(
                MessageRefused(
                    delivery.entry,
                    garbage.reason,
                    sender=claimed.sender,
                    sender_incarnation=claimed.incarnation,
                    sequence=claimed.sequence,
                    copy=delivery.copy,
                    kind=claimed.kind,
                    exchange=claimed.exchange.hex(),
                )
            )
        self._unacknowledged.acknowledge(delivery.entry)

    def _report(self, envelope: Envelope, delivery: Delivery) -> None:
        self._emit(
            MessageReceived(
                sender=envelope.sender,
                sender_incarnation=envelope.incarnation,
                sequence=envelope.sequence,
                copy=delivery.copy,
                kind=envelope.kind,
                exchange=envelope.exchange.hex(),
                late=self._deduplicator.late(envelope),
                entry=delivery.entry,
            )
        )

    async def _dispatch(self, envelope: Envelope, message: Message, delivery: Delivery) -> None:
        """Parts go to the merger, which acks the entry once they are journalled; summaries to the processor; and what
        they show of the sender to the initiator, which may miss some without harm."""
        parts = parts_of(message)
        cause = Cause(envelope.sender, envelope.incarnation, envelope.sequence, delivery.copy)
        holds = 0
        for part in parts:
            holds |= 1 << part.index
        if parts:
            await self._parts.put(PartsReceived(parts, cause, delivery.entry))
        if isinstance(message, Summary):
            holds |= from_bytes(message.known)
            entry = None if parts else delivery.entry
            await self._summaries.put(SummaryReceived(cause, envelope.exchange, message, entry))
            self._peers_heard.offer(PeerHeard(cause, envelope.exchange, holds, peers=message.peers))
        else:
            answer = message if isinstance(message, Answer) else None
            self._peers_heard.offer(PeerHeard(cause, envelope.exchange, holds, answer=answer))
            if not parts:
                self._unacknowledged.acknowledge(delivery.entry)
