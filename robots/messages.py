"""The messages between robots: the bodies of envelopes, their wire form and their limits.

Decoding is total: garbage from the network is a value (`Garbage`). A correct robot never exceeds a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from broker.envelope import Garbage, is_robot
from robots.knowledge import Snapshot, indices_from
from robots.secret import MAX_PARTS, MAX_WORD, Part

HOT_LIMIT: Final = 512  # bytes of parts that ride in a summary
DELTA_LIMIT: Final = 32_768  # bytes of parts in an answer or update; a big secret flows in many of them
MAX_PEERS: Final = 8


class Summary(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A bitmap of the parts that the sender knows; the parts that it learnt lately (`hot`), if they are few; some
    robots that it knows."""

    known: bytes
    hot: tuple[Part, ...] = ()
    peers: tuple[str, ...] = ()
    attempt: int = 0  # 1, 2: a retransmission


class Answer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Parts that the sender of the summary lacks, and a bitmap of parts that are wanted of it. `equal`: both know the
    same parts."""

    parts: tuple[Part, ...] = ()
    want: bytes = b""
    equal: bool = False
    attempt: int = 0  # of the summary that is answered, to measure the round-trip time


class Update(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The parts that an answer wanted."""

    parts: tuple[Part, ...]


Message = Summary | Answer | Update

encode_message = msgspec.msgpack.Encoder().encode
_DECODERS: Final[dict[str, Callable[[bytes], Message]]] = {
    "summary": msgspec.msgpack.Decoder(Summary).decode,
    "answer": msgspec.msgpack.Decoder(Answer).decode,
    "update": msgspec.msgpack.Decoder(Update).decode,
}


def kind_of(message: Message) -> str:
    """The envelope's kind for a message: its class name in lower case."""
    return type(message).__name__.lower()


def decode_message(kind: str, body: bytes) -> Message | Garbage:
    """The message in an envelope's body; Garbage with a reason if it is none, or exceeds a limit."""
    decode = _DECODERS.get(kind)
    if decode is None:
        return Garbage("unknown kind")
    try:
        message = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Garbage(f"not a {kind}")
    return _within_limits(message)


def parts_of(message: Message) -> tuple[Part, ...]:
    """The parts that a message carries."""
    return message.hot if isinstance(message, Summary) else message.parts


def part_size(part: Part) -> int:
    """Bytes that a part takes on the wire, at most."""
    return len(part.word.encode()) + 10


def delta(mine: Snapshot, wanted: int, start: int) -> tuple[Part, ...]:
    """As many of the `wanted` parts (bitmap) in `mine` as fit into one message, from index `start` on and round.

    Different robots begin at different indices, so that a robot that lacks much gets different parts from them.
    """
    chosen: list[Part] = []
    room = DELTA_LIMIT
    for index in indices_from(wanted & mine.known, start):
        part = mine.part(index)
        room -= part_size(part)
        if room < 0 and chosen:
            break
        chosen.append(part)
    return tuple(chosen)


def hot_parts(mine: Snapshot, indices: Iterable[int]) -> tuple[Part, ...]:
    """The parts at `indices` if all of them fit under HOT_LIMIT, else none."""
    chosen: list[Part] = []
    room = HOT_LIMIT
    for index in indices:
        part = mine.part(index)
        room -= part_size(part)
        if room < 0:
            return ()
        chosen.append(part)
    return tuple(chosen)


def _within_limits(message: Message) -> Message | Garbage:
    for part in parts_of(message):
        if not 0 <= part.index < MAX_PARTS:
            return Garbage("index out of range")
        if not part.word or len(part.word.encode("utf-8", "surrogatepass")) > MAX_WORD:
            return Garbage("word too long or empty")
    bitmap = message.known if isinstance(message, Summary) else message.want if isinstance(message, Answer) else b""
    if len(bitmap) > MAX_PARTS // 8:
        return Garbage("bitmap too long")
    if isinstance(message, Summary) and not _are_peers(message.peers):
        return Garbage("bad peers")
    return message


def _are_peers(peers: tuple[str, ...]) -> bool:
    return len(peers) <= MAX_PEERS and all(map(is_robot, peers))
