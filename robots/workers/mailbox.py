"""What workers say to each other: the items of the channels, all of them small and frozen. No behaviour."""

from __future__ import annotations

import msgspec

from robots.journal import Cause
from robots.messages import Answer, Message, Summary
from robots.secret import Part


class SummaryReceived(msgspec.Struct, frozen=True):
    """inbox_reader → summary_processor: a summary that must be answered. `entry` is acked once it is, unless the
    merger has to keep the summary's hot parts first."""

    sender: str
    exchange: bytes
    summary: Summary
    entry: str | None


class PartsReceived(msgspec.Struct, frozen=True):
    """inbox_reader → secret_merger: parts that came, and the inbox entry to ack once they are journalled."""

    parts: tuple[Part, ...]
    cause: Cause
    entry: str


class PeerHeard(msgspec.Struct, frozen=True):
    """inbox_reader → gossip_initiator: somebody spoke. `answer` is there when it answered one of our summaries."""

    sender: str
    exchange: bytes
    holds: int  # bitmap
    peers: tuple[str, ...] = ()
    answer: Answer | None = None


class OutgoingMessage(msgspec.Struct, frozen=True):
    """→ outbox_writer: a message to be sent. For a summary, `held` and `digest` tell what it shows as known."""

    receiver: str
    exchange: bytes
    message: Message
    held: int = 0
    digest: str = ""


class Ticked(msgspec.Struct, frozen=True):
    """gossip_initiator → quiescence_detector: a tick was executed while `known` (bitmap) was known; so many peers are
    believed alive."""

    peers_alive: int
    known: int


class PeerEqual(msgspec.Struct, frozen=True):
    """gossip_initiator → quiescence_detector: a peer answered "equal" to a summary that showed `known` (bitmap)."""

    exchange: bytes
    known: int


class Quiet(msgspec.Struct, frozen=True):
    """quiescence_detector → convergence_detector, as a watched value: the quiet period is over, and `known` (bitmap) is
    what was known all through it."""

    ticks: int
    exchange: bytes
    known: int
