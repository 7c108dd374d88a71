"""Frugal: no answer or update carried parts that its receiver had shown as known. Judged by fates, journals and events.

An exchange shows what its robots know: a summary and an answer are reported with the number of parts that their sender
held, and its journal tells which ones these were (the promise monotonic checks their digest). Of several in one
exchange the smallest counts. So an answer or update can carry, at most, what its sender held when it was sent, without
what its receiver had shown. It is BROKEN when

* its sender reports that it carried more parts than that;
* its body, as the relay measured it, is larger than all these parts would be. That also convicts a full state, which is
  allowed only where the receiver lacked all of it;
* the body of a summary is larger than its bitmap, its peers and 512 bytes of hot parts: up to there they are exempt.

Where the receiver's events are missing, or one of its envelopes is not reported, it had shown at least what it was
dealt; where those of the sender are, it held at most all that its journal holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from telemetry.events import MessageSent, PartsMerged, RobotBorn, Stamped
from telemetry.verdict.case import Case
from telemetry.verdict.checks.membership import missing_evidence
from telemetry.verdict.checks.witnesses import first_missing, gaps
from telemetry.verdict.evidence.journals import RobotJournal
from telemetry.verdict.evidence.schema import FateRow, PartRow
from telemetry.verdict.evidence.traffic import Address, Key, place_of
from telemetry.verdict.finding import Finding, broken, held, worst

HOT_BYTES: Final = 512
_FRAME_BYTES: Final = 24  # of a body: its own fields, and the heads of its lists
_PEERS_BYTES: Final = 8 * 12  # of a summary
_ALL: Final = 1 << 62  # more parts than any robot holds


class _Sent(NamedTuple):
    """An envelope as its sender reports it: how many parts it carried, and how many its sender held."""

    parts: int
    held: int


def frugal(case: Case) -> Finding:
    """No answer or update carried parts that its receiver had shown as known; summaries only a few hot ones."""
    reports = _Reports(case)
    checked = [
        (key, row)
        for key, row in case.traffic.envelopes()
        if row.kind in ("answer", "update") and (row.exchange, row.receiver) in reports.shown
    ]

    def findings() -> Iterator[Finding]:
        yield from _parcels(case, reports)
        yield from _summaries(case)
        yield from missing_evidence(case)
        yield from gaps(case)

    why = f"{len(checked)} answers and updates carried only parts that their receivers lacked"
    return worst(findings(), otherwise=held(why, len(checked)))


class _Reports:
    """What whole lives report of their envelopes. `sent`: by address; `shown`: by exchange and robot, the fewest parts
    that a summary or answer of it showed as known."""

    def __init__(self, case: Case) -> None:
        self.sent: dict[Address, _Sent] = {}
        self.shown: dict[tuple[str | None, str | None], int] = {}
        for (robot, life), events in case.testimony.items():
            if first_missing(events) is None:
                self._read(robot, life, events)
        for _, row in case.traffic.envelopes():  # one that was sent in an outage is not reported, and showed less
            if row.kind in ("summary", "answer") and _address(row) not in self.sent:
                self.shown.pop((row.exchange, row.sender), None)

    def _read(self, robot: str, life: int, events: list[Stamped]) -> None:
        now = 0
        for stamped in events:
            match stamped.event:
                case RobotBorn(parts=parts):
                    now = max(now, parts)
                case PartsMerged(held=parts):
                    now = max(now, parts)
                case MessageSent() as sent:
                    self.sent[robot, life, sent.receiver, sent.sequence] = _Sent(sent.parts, now)
                    if sent.digest:
                        place = sent.exchange, robot
                        self.shown[place] = min(sent.held, self.shown.get(place, sent.held))


class _Holdings:
    """What a robot held, as bitmaps, when it held so many parts; and the bytes of parts on the wire."""

    def __init__(self, journal: RobotJournal) -> None:
        self._parts = {part.row.index: part.row for part in reversed(journal.parts)}
        self._order = list(dict.fromkeys(part.row.index for part in journal.parts))
        self.dealt = _bitmap(journal.dealt)
        self.first = cache(lambda count: _bitmap(self._order[:count]))
        self.bytes_of = cache(self._bytes_of)

    def _bytes_of(self, bitmap: int) -> int:
        return sum(_bytes_on_the_wire(part) for index, part in self._parts.items() if bitmap >> index & 1)


def _parcels(case: Case, reports: _Reports) -> Iterator[Finding]:
    """Answers and updates that carried more than their receiver lacked."""
    holdings = {robot: _Holdings(journal) for robot, journal in case.journals.items() if not journal.lost}
    want_bytes = case.deal.parts // 8 + 1
    for key, row in case.traffic.envelopes():
        empty_bytes = _FRAME_BYTES + (want_bytes if row.kind == "answer" else 0)
        if row.kind not in ("answer", "update") or row.sender is None or row.receiver is None:
            continue
        sent = reports.sent.get(_address(row), _Sent(0, _ALL))
        if sent.parts == 0 and row.body <= empty_bytes:
            continue
        sender, receiver = holdings.get(row.sender), holdings.get(row.receiver)
        if sender is None or receiver is None:
            continue
        shown = receiver.dealt | receiver.first(reports.shown.get((row.exchange, row.receiver), 0))
        lacked = sender.first(min(sent.held, _ALL)) & ~shown
        if sent.parts > lacked.bit_count():
            yield _carried(key, row, f"{sent.parts} parts", f"{lacked.bit_count()}")
        elif row.body > empty_bytes + sender.bytes_of(lacked):
            yield _carried(key, row, f"{row.body} bytes", f"{empty_bytes + sender.bytes_of(lacked)} bytes")


def _address(row: FateRow) -> Address:
    return row.sender, row.incarnation, row.receiver, row.sequence


def _carried(key: Key, row: FateRow, carried: str, lacked: str) -> Finding:
    return broken(
        f"an {row.kind} of {row.sender}/{row.incarnation} to {row.receiver} carried {carried}; without those that "
        f"{row.receiver} had shown as known, {lacked} were to send",
        place_of(key),
    )


def _summaries(case: Case) -> Iterator[Finding]:
    """Summaries with more than hot parts."""
    most = _FRAME_BYTES + case.deal.parts // 8 + 1 + _PEERS_BYTES + HOT_BYTES
    for key, row in case.traffic.envelopes():
        if row.kind == "summary" and row.body > most:
            yield broken(
                f"a summary of {row.sender}/{row.incarnation} to {row.receiver} has {row.body} bytes: more than hot "
                f"parts, which make {most} at most",
                place_of(key),
            )


def _bytes_on_the_wire(part: PartRow) -> int:
    """The most bytes that a part takes in a body: three heads, an index, a last mark and the word."""
    return len(part.word.encode()) + 10


def _bitmap(indices: list[int] | frozenset[int]) -> int:
    bitmap = 0
    for index in indices:
        bitmap |= 1 << index
    return bitmap
