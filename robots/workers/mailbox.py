"""The messages between the workers of one robot: the items of its channels, and one watched value.

All are small and frozen, and have no behaviour. What robots send to each other: robots/messages.py.
"""

from __future__ import annotations

import msgspec

from robots.journal import Cause
from robots.messages import Answer, Message, Summary
from robots.secret import Part


class SummaryReceived(msgspec.Struct, frozen=True):
    """inbox_reader → summary_processor: a summary that must be answered, and the copy that brought it. `entry` is the
    inbox entry to ack after that; None when the merger acks it, because it must journal the summary's hot parts
    first."""

    cause: Cause
    exchange: bytes
    summary: Summary
    entry: str | None


class PartsReceived(msgspec.Struct, frozen=True):
    """inbox_reader → secret_merger: parts that came, and the inbox entry to ack once they are journalled."""

    parts: tuple[Part, ...]
    cause: Cause
    entry: str


class PeerHeard(msgspec.Struct, frozen=True):
    """inbox_reader → gossip_initiator: a message came, so its sender is alive. `answer`: if it was an answer to one of
    our summaries."""

    cause: Cause
    exchange: bytes
    holds: int  # bitmap of the parts that the message shows the sender to hold
    peers: tuple[str, ...] = ()
    answer: Answer | None = None


class OutgoingMessage(msgspec.Struct, frozen=True):
    """→ outbox_writer: a message to be sent, offered at `offered_us` (monotonic). For a summary and an answer, `held`
    (a count) and `digest` describe what its sender knows. `cause`: the copy that an answer or an update replies to."""

    receiver: str
    exchange: bytes
    message: Message
    offered_us: int
    held: int = 0
    digest: str = ""
    cause: Cause | None = None


class Ticked(msgspec.Struct, frozen=True):
    """gossip_initiator → quiescence_detector: a tick was executed while the robot knew `known` (bitmap) and believed so
    many peers alive."""

    peers_alive: int
    known: int


class PeerEqual(msgspec.Struct, frozen=True):
    """gossip_initiator → quiescence_detector: a peer answered "equal" to a summary that showed `known` (bitmap)."""

    exchange: bytes
    known: int


class Quiet(msgspec.Struct, frozen=True):
    """quiescence_detector → convergence_detector, as a watched value: the quiet period is over. It lasted `ticks`, with
    `known` (bitmap) unchanged; `exchange` answered "equal" (empty: no peer is believed alive)."""

    ticks: int
    exchange: bytes
    known: int
