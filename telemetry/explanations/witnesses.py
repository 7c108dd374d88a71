"""What a witness is: the judge names a place in the record, and here stands in words what is there.

A witness that is not understood, or whose place is not in the history, is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from telemetry.explanations.explanation import Step
from telemetry.explanations.run_index import RunIndex
from telemetry.phrases import in_brackets, seconds
from telemetry.record.rows import (
    CompleteRow,
    FateRow,
    HeaderRow,
    InjectionRow,
    JournalRow,
    LifeRow,
    PartRow,
    QuietRow,
    ms_of,
)
from telemetry.stories.sentences import sentence_of

_EVENT: Final = re.compile(r"event ([0-9]+) of (r[0-9]+)/([0-9]+)")
_JOURNAL: Final = re.compile(r"journal of (r[0-9]+), entry ([0-9]+-[0-9]+)")
_BEFORE: Final = re.compile(r"(?:at|since|also) ([0-9]+-[0-9]+)")
_OUTBOX: Final = re.compile(r"outbox ([0-9]+), entry ([0-9]+-[0-9]+)")
_INJECTION: Final = re.compile(r"fleet log, injection ([0-9]+-[0-9]+)")


def witness_steps(index: RunIndex, why: str) -> Iterator[Step]:
    """What stands in the places that a finding names."""
    yield from _journal_entries(index, why)
    yield from _reported(index, why)
    for shard, entry in _OUTBOX.findall(why):
        fates = (row for row in index.fates.values() if (row.shard, row.id) == (int(shard), entry))
        yield from (_fate_step(index, row) for row in fates)
    for entry in _INJECTION.findall(why):
        rows = (row for row in index.history.fleet if isinstance(row, InjectionRow) and row.id == entry)
        for row in rows:
            text = f"that injection was: {row.verb} {row.target}, done to {row.victim}"
            yield Step(text, index.after_go_s(ms_of(row.id) * 1000))


def _journal_entries(index: RunIndex, why: str) -> Iterator[Step]:
    for robot, entry in _JOURNAL.findall(why):
        for place in (*_BEFORE.findall(why), entry):
            rows = (row for row in index.history.journals if row.robot == robot)
            yield from (_journal_step(index, row) for row in rows if isinstance(row, _ENTRIES) and row.id == place)


_ENTRIES: Final = (HeaderRow, PartRow, LifeRow, CompleteRow, QuietRow)


def _journal_step(index: RunIndex, row: JournalRow) -> Step:
    text, exchange, faults = _content(index, row)
    place = getattr(row, "id", "")
    return Step(f"entry {place} of {row.robot}'s journal is {text}", robot=row.robot, exchange=exchange, faults=faults)


def _content(index: RunIndex, row: JournalRow) -> tuple[str, str, tuple[str, ...]]:
    """An entry in words, and the exchange and the faults of the envelope that brought it."""
    match row:
        case PartRow(index=part, cause=None):
            return f"part {part}, which it was dealt", "", ()
        case PartRow(robot, index=part, cause=(sender, life, sequence, copy)):
            fate = index.fates.get((sender, life, robot, sequence))
            envelope = f"envelope {sequence} of {sender}/{life}{f', copy {copy + 1}' * (copy > 0)}"
            if fate is None:
                return (
                    f"part {part}, brought by {envelope}, which no relay decided: it did not come from a robot",
                    "",
                    (),
                )
            faults = tuple(planned.fault for planned in fate.faults)
            text = f"part {part}, brought by {envelope} ({fate.kind} of exchange {fate.exchange})"
            return text, fate.exchange or "", faults
        case LifeRow():
            return "the birth of a life", "", ()
        case CompleteRow():
            return "`complete`: nothing was missing any more", "", ()
        case QuietRow(ticks=ticks):
            return f"`quiet`: {ticks} ticks without news", "", ()
    return "the beginning", "", ()


def _reported(index: RunIndex, why: str) -> Iterator[Step]:
    for number, robot, life in _EVENT.findall(why):
        for stamped in index.reported(robot):
            if (stamped.number, stamped.incarnation) == (int(number), int(life)):
                text = f"event {number} of {robot}/{life} is: {sentence_of(stamped)}"
                yield Step(text, index.after_go_s(stamped.wall_us), robot=robot, life=int(life))


def _fate_step(index: RunIndex, row: FateRow) -> Step:
    faults = tuple(planned.fault for planned in row.faults)
    delays = ", ".join(seconds(delay_us) for delay_us in row.deliveries)
    text = (
        f"{row.sender}/{row.incarnation} sent that envelope to {row.receiver} ({row.kind} of exchange {row.exchange})"
    )
    text += f"; recorded is: {row.fate}{f', after {delays}' * bool(delays)}{in_brackets(', '.join(faults))}"
    at_s = index.after_go_s(ms_of(row.id) * 1000)
    return Step(text, at_s, robot=row.sender or "", exchange=row.exchange or "", faults=faults)
