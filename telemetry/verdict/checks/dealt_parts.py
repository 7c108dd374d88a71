"""Whether journals hold the parts that were dealt, and whether a part ever changed. Names entries, judges nothing.

Monotonic and unique both ask these questions, each with a finding of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from telemetry.verdict.evidence.journals import PartEntry, RobotJournal
from telemetry.verdict.evidence.schema import DealFile, PartRow
from telemetry.verdict.finding import EvidenceError


class DealtParts:
    """Recognises dealt parts by their digests; a part that was recognised once is compared directly.

    Raises EvidenceError when the deal does not list all of its parts.
    """

    def __init__(self, deal: DealFile) -> None:
        self._salt = bytes.fromhex(deal.salt)
        self._digests = {part.index: part.digest for part in deal.indices}
        self._known: dict[int, tuple[str, bool]] = {}
        if len(self._digests) != deal.parts or max(self._digests, default=-1) != deal.parts - 1:
            raise EvidenceError(f"deal.json counts {deal.parts} parts, and lists {len(self._digests)}")

    def include(self, part: PartRow) -> bool:
        """Whether exactly this part (index, word, last mark) was dealt."""
        if self._known.get(part.index) == (part.word, part.last):
            return True
        text = f"{part.index}:{1 if part.last else 0}:{part.word}".encode()
        if hashlib.blake2b(text, key=self._salt, digest_size=16).hexdigest() != self._digests.get(part.index):
            return False
        self._known[part.index] = part.word, part.last
        return True


def changed_parts(journal: RobotJournal) -> Iterator[tuple[PartEntry, PartEntry]]:
    """Pairs of entries for one index that differ in word or last mark: the first entry, and the later one."""
    first: dict[int, PartEntry] = {}
    for part in journal.parts:
        before = first.setdefault(part.row.index, part)
        if before is not part and (before.row.word, before.row.last) != (part.row.word, part.row.last):
            yield before, part
