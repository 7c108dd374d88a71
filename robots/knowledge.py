"""What a robot knows, and its invariants. This is the consistency boundary: a violation raises, nothing is repaired.

Monotonic: parts are never removed or changed. Unique: an index has one word, and one index is marked last. Idempotent:
a known part changes nothing. Pure: no channels, no journal, no events.

Sets of part indices are bitmaps: plain ints (bit i = index i), on the wire little-endian bytes without padding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from robots.secret import Part, join


def bitmap_of(indices: Iterable[int]) -> int:
    """The bitmap of `indices`."""
    bitmap = 0
    for index in indices:
        bitmap |= 1 << index
    return bitmap


def indices_of(bitmap: int) -> Iterator[int]:
    """The indices in `bitmap`, lowest first."""
    for place, byte in enumerate(to_bytes(bitmap)):
        rest = byte
        while rest:
            low = rest & -rest
            yield 8 * place + low.bit_length() - 1
            rest ^= low


def indices_from(bitmap: int, start: int) -> Iterator[int]:
    """The indices in `bitmap`, from `start` upwards, then from the lowest up to `start`."""
    for index in indices_of(bitmap >> start):
        yield start + index
    yield from indices_of(bitmap & ((1 << start) - 1))


def to_bytes(bitmap: int) -> bytes:
    """The wire form."""
    return bitmap.to_bytes((bitmap.bit_length() + 7) // 8, "little")


def from_bytes(wire: bytes) -> int:
    """The bitmap of a wire form."""
    return int.from_bytes(wire, "little")


def digest_of(bitmap: int) -> str:
    """BLAKE2b-64 of the wire form, in hex: identifies in the record what a summary showed, without repeating it."""
    return hashlib.blake2b(to_bytes(bitmap), digest_size=8).hexdigest()


class InvariantViolation(Exception):
    """A part would break an invariant. It crashes the worker; the knowledge is unchanged."""

    def __init__(self, invariant: str, index: int, detail: str) -> None:
        super().__init__(f"{invariant}: part {index}: {detail}")
        self.invariant = invariant
        self.index = index
        self.detail = detail


class Snapshot:
    """Knowledge at one moment, immutable.

    Snapshots of one robot share their store of parts. It only grows, and a snapshot reads only the indices in its own
    `known`, so it never changes.
    """

    __slots__ = ("_digest", "_store", "count", "known", "last")

    def __init__(self, store: Mapping[int, Part], known: int, count: int, last: int | None) -> None:
        self._store = store
        self._digest: str | None = None
        self.known = known  # bitmap
        self.count = count
        self.last = last  # index of the part marked last, once it is known

    @property
    def complete(self) -> bool:
        """Whether the part marked last is known, and every part before it."""
        return self.last is not None and self.known == (1 << (self.last + 1)) - 1

    @property
    def digest(self) -> str:
        """`digest_of` the known indices."""
        if self._digest is None:
            self._digest = digest_of(self.known)
        return self._digest

    def part(self, index: int) -> Part:
        """A known part. Raises KeyError for one that this snapshot does not know."""
        if not self.known >> index & 1:
            raise KeyError(index)
        return self._store[index]

    def parts(self) -> list[Part]:
        """All known parts, in order."""
        return [self._store[index] for index in sorted(self._store) if self.known >> index & 1]

    def text(self) -> str:
        """The secret. Only for a complete snapshot."""
        assert self.complete, "an incomplete secret has no text"
        return join(self.parts())


NOTHING = Snapshot(MappingProxyType({}), 0, 0, None)


class Knowledge:
    """The growing store behind the snapshots. It has one owner: the secret merger."""

    def __init__(self, start: Snapshot = NOTHING) -> None:
        self._store = {part.index: part for part in start.parts()}
        self._now = Snapshot(self._store, start.known, start.count, start.last)

    @property
    def now(self) -> Snapshot:
        """The latest snapshot."""
        return self._now

    def news(self, parts: Iterable[Part]) -> list[Part]:
        """Those of `parts` that are new, each once; the knowledge is not changed yet.

        Raises InvariantViolation when one of them contradicts what is known, or another of them.
        """
        fresh: dict[int, Part] = {}
        last = self._now.last
        for part in parts:
            known = self._store.get(part.index) or fresh.get(part.index)
            if known is not None and known != part:
                raise InvariantViolation("unique", part.index, "came with another word or last mark than the known one")
            if known is None:
                last = self._last_with(part, last, fresh)
                fresh[part.index] = part
        return list(fresh.values())

    def learn(self, news: Iterable[Part]) -> Snapshot:
        """Add parts that `news` has returned. Returns the snapshot that holds them."""
        before = self._now
        known, count, last = before.known, before.count, before.last
        for part in news:
            if part.index in self._store:
                raise InvariantViolation("monotonic", part.index, "would replace a part that is known")
            self._store[part.index] = part
            known |= 1 << part.index
            count += 1
            if part.last:
                last = part.index
        self._now = Snapshot(self._store, known, count, last)
        return self._now

    def _last_with(self, part: Part, last: int | None, fresh: Mapping[int, Part]) -> int | None:
        """The index marked last once `part` is known too. Raises InvariantViolation."""
        if last is not None and (part.last or part.index > last):
            raise InvariantViolation("unique", part.index, f"cannot be there when part {last} is the last")
        if not part.last:
            return last
        highest = max(self._now.known.bit_length() - 1, max(fresh, default=-1))
        if highest > part.index:
            raise InvariantViolation("unique", part.index, f"cannot be the last when part {highest} is known")
        return part.index
