"""What the robots' journals hold: entries in their places, lives, and what was known when. Judges nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from telemetry.verdict.evidence.schema import (
    CompleteRow,
    HeaderRow,
    JournalRow,
    LifeRow,
    LostRow,
    PartRow,
    QuietRow,
)

Life = tuple[str, int]
"""(robot, incarnation)"""


class Entry(NamedTuple):
    """A journal's entry in its place: the `number`-th of an incarnation."""

    incarnation: int
    number: int
    row: JournalRow

    @property
    def place(self) -> str:
        """The entry's id, as people read it."""
        return f"{self.incarnation}-{self.number}"


class PartEntry(NamedTuple):
    """A part's entry in its place."""

    incarnation: int
    number: int
    row: PartRow

    @property
    def place(self) -> str:
        """The entry's id, as people read it."""
        return f"{self.incarnation}-{self.number}"


class QuietEntry(NamedTuple):
    """A quiet's entry in its place."""

    incarnation: int
    number: int
    row: QuietRow


class RobotJournal:
    """One robot's journal, as recorded. A `lost` one has no entries."""

    def __init__(self, robot: str, entries: list[Entry], lost: bool) -> None:
        self.robot = robot
        self.entries = entries
        self.lost = lost

    @cached_property
    def parts(self) -> list[PartEntry]:
        """The parts, in the order in which they came."""
        return [PartEntry(*entry) for entry in self.entries if isinstance(entry.row, PartRow)]  # type: ignore[arg-type]

    @cached_property
    def quiets(self) -> list[QuietEntry]:
        """The quiet entries, in order."""
        return [QuietEntry(*entry) for entry in self.entries if isinstance(entry.row, QuietRow)]  # type: ignore[arg-type]

    @cached_property
    def joined(self) -> bool:
        """Whether the robot joined later, without parts."""
        return any(isinstance(entry.row, HeaderRow) and entry.row.origin == "joined" for entry in self.entries)

    @cached_property
    def lives(self) -> list[int]:
        """The incarnations that were born, in order."""
        return [entry.incarnation for entry in self.entries if isinstance(entry.row, LifeRow)]

    @cached_property
    def indices(self) -> frozenset[int]:
        """The indices of all parts."""
        return frozenset(part.row.index for part in self.parts)

    @cached_property
    def dealt(self) -> frozenset[int]:
        """The indices of the parts that the robot was dealt."""
        return frozenset(part.row.index for part in self.parts if part.incarnation == 0)

    @cached_property
    def complete(self) -> bool:
        """Whether the parts are the whole secret, as far as the robot can know."""
        return is_whole(part.row for part in self.parts)

    @cached_property
    def dealt_everything(self) -> bool:
        """Whether the robot was complete before it was ever born."""
        return is_whole(part.row for part in self.parts if part.incarnation == 0)

    @cached_property
    def completed_lives(self) -> frozenset[int]:
        """The incarnations with an entry `complete`."""
        return frozenset(entry.incarnation for entry in self.entries if isinstance(entry.row, CompleteRow))

    @cached_property
    def completed_at_us(self) -> int | None:
        """The time of the first entry `complete` (the robot's own wall clock); None without one."""
        return min((entry.row.at_us for entry in self.entries if isinstance(entry.row, CompleteRow)), default=None)

    def witness(self, incarnation: int, number: int) -> str:
        """Where an entry stands, as people read it."""
        return f"journal of {self.robot}, entry {incarnation}-{number}"

    @cached_property
    def counts(self) -> dict[int, tuple[int, int]]:
        """Per life, how many parts were known at its birth and at its end."""
        counts: dict[int, tuple[int, int]] = {}
        known: set[int] = set()
        for incarnation, _, row in self.entries:
            if isinstance(row, LifeRow):
                counts[incarnation] = len(known), len(known)
            elif isinstance(row, PartRow):
                known.add(row.index)
                if incarnation in counts:
                    counts[incarnation] = counts[incarnation][0], len(known)
        return counts

    def digests(self, wanted: set[int]) -> dict[int, str]:
        """For each wanted number of parts, the digest of what was known when there were so many."""
        bitmap = held = 0
        digests = {0: _digest(0)}
        for part in self.parts:
            bit = 1 << part.row.index
            if not bitmap & bit:
                bitmap |= bit
                held += 1
                if held in wanted:
                    digests[held] = _digest(bitmap)
        return digests


def is_whole(parts: Iterable[PartRow]) -> bool:
    """Whether no index is missing up to the part marked last."""
    indices, last = set(), None
    for part in parts:
        indices.add(part.index)
        if part.last:
            last = part.index
    return last is not None and last == max(indices) == len(indices) - 1


def read_journals(rows: Iterable[JournalRow | LostRow]) -> dict[str, RobotJournal]:
    """The journals in `rows`, by robot."""
    entries: dict[str, list[Entry]] = {}
    lost = set()
    for row in rows:
        kept = entries.setdefault(row.robot, [])
        if isinstance(row, LostRow):
            lost.add(row.robot)
        else:
            incarnation, _, number = row.id.partition("-")
            kept.append(Entry(int(incarnation), int(number), row))
    return {robot: RobotJournal(robot, kept, robot in lost) for robot, kept in entries.items()}


def _digest(bitmap: int) -> str:
    """BLAKE2b-64 over the bitmap's little-endian bytes, as a summary shows it (telemetry/events.py)."""
    known = bitmap.to_bytes((bitmap.bit_length() + 7) // 8, "little")
    return hashlib.blake2b(known, digest_size=8).hexdigest()
