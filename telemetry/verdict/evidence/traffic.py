"""What the relays' fates show together: each entry once, records that differ, and what was redone. Judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property

from telemetry.verdict.evidence.journals import Life
from telemetry.verdict.evidence.schema import FateRow, RedoRow

Key = tuple[int, int, int]
"""An outbox entry: (shard, milliseconds, number). Keys of different shards must never be compared in time."""

Address = tuple[str | None, int | None, str | None, int | None]
"""An envelope: its sender, incarnation, receiver and sequence number. Garbage has none."""


def key_of(shard: int, entry: str) -> Key:
    """The key of the entry whose id is written as `1700000000000-3`."""
    milliseconds, _, number = entry.partition("-")
    return shard, int(milliseconds), int(number)


def place_of(key: Key) -> str:
    """A key as people read it."""
    return f"outbox {key[0]}, entry {key[1]}-{key[2]}"


class Traffic:
    """`entries`: one fate per entry, as first recorded. `unequal`: further records of an entry that differ from that.

    `redone`: how often a relay began to redo an entry.
    """

    def __init__(self, rows: Iterable[FateRow | RedoRow]) -> None:
        self.entries: dict[Key, FateRow] = {}
        self.unequal: dict[Key, list[FateRow]] = {}
        self.redone: Counter[Key] = Counter()
        for row in rows:
            if isinstance(row, RedoRow):
                self.redone.update(key_of(row.shard, entry) for entry in row.redo)
                continue
            key = key_of(row.shard, row.id)
            if self.entries.setdefault(key, row) != row:
                self.unequal.setdefault(key, []).append(row)

    def envelopes(self) -> Iterable[tuple[Key, FateRow]]:
        """The entries that were envelopes; garbage, which a relay refuses, is none."""
        return ((key, row) for key, row in self.entries.items() if row.fate != "refused")

    @cached_property
    def last_sent_ms(self) -> dict[Life, int]:
        """When each life sent its last envelope (server's clock)."""
        last: dict[Life, int] = {}
        for (_, sent_ms, _), row in self.envelopes():
            if row.sender is not None and row.incarnation is not None:
                life = row.sender, row.incarnation
                last[life] = max(sent_ms, last.get(life, 0))
        return last

    @cached_property
    def sent_ms(self) -> dict[Address, int]:
        """When each envelope was sent (server's clock); of one with several entries, the first."""
        sent: dict[Address, int] = {}
        for (_, at_ms, _), row in self.entries.items():
            address = (row.sender, row.incarnation, row.receiver, row.sequence)
            sent[address] = min(at_ms, sent.get(address, at_ms))
        return sent

    @cached_property
    def initiators(self) -> frozenset[Life]:
        """The lives that sent a summary."""
        return frozenset(
            (row.sender, row.incarnation)
            for row in self.entries.values()
            if row.kind == "summary" and row.sender is not None and row.incarnation is not None
        )

    @cached_property
    def readable_copies(self) -> dict[Address, int]:
        """How many undamaged copies were delivered of each envelope (sender, incarnation, receiver, sequence).

        For an envelope with several entries in its outbox, the most of any entry.
        """
        copies: dict[Address, int] = {}
        for row in self.entries.values():
            address = (row.sender, row.incarnation, row.receiver, row.sequence)
            readable = 0 if row.fate == "corrupt" else len(row.deliveries)
            copies[address] = max(readable, copies.get(address, 0))
        return copies

    def copies_by_receiver(self, shards: frozenset[int] | None = None) -> Counter[str]:
        """How many copies each inbox was due (from `shards` only, if given), entries that were redone counted once."""
        copies: Counter[str] = Counter()
        for row in self.entries.values():
            if row.receiver is not None and row.deliveries and (shards is None or row.shard in shards):
                copies[row.receiver] += len(row.deliveries)
        return copies

    def redone_copies_by_receiver(self) -> Counter[str]:
        """How many more copies each inbox may hold because relays redid entries."""
        redone: Counter[str] = Counter()
        for key, times in self.redone.items():
            row = self.entries.get(key)
            if row is not None and row.receiver is not None:
                redone[row.receiver] += times * len(row.deliveries)
        return redone
