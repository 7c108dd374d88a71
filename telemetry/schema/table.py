"""The files of a record, each with its meaning and the type of its content. The one list; documents are made of it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from telemetry.events import Stamped
from telemetry.handlers.log import LogLine
from telemetry.record.files import CountersFile, DealFile, LiveFile, RegisterFile, StreamsFile
from telemetry.record.rows import ControlRow, FateRow, FleetRow, JournalRow, RedoRow
from telemetry.record.settings import RunSettings
from telemetry.verdict.judge import Result


class RecordFile(msgspec.Struct, frozen=True):
    """A file. `content` is the type of its value, or of each line of a `.jsonl`; None: it is not JSON.
    `is_evidence`: the manifest holds its digest, and the verdict rests on it."""

    name: str
    content: Any
    meaning: str
    is_evidence: bool = True

    @property
    def has_rows(self) -> bool:
        """Whether the file holds one JSON object a line."""
        return self.name.endswith(".jsonl")


FILES: Final = (
    RecordFile("settings.json", RunSettings, "What the run was given, and how it ended."),
    RecordFile("deal.json", DealFile, "How the secret was dealt, without a word of it."),
    RecordFile("plan.jsonl", ControlRow, "Every control entry of the outboxes: changes of the fault plan, and births."),
    RecordFile(
        "fates.jsonl",
        FateRow | RedoRow,
        "What the relays decided for each envelope. What a partition keeps back has no fate before its release.",
    ),
    RecordFile(
        "journals.jsonl", JournalRow, "Every entry of the robots' journals: what each robot has known for certain."
    ),
    RecordFile("register.json", RegisterFile, "What was written, and the births of lives and their attempts to write."),
    RecordFile("streams.json", StreamsFile, "What the server counted in outboxes and inboxes, and the run's orders."),
    RecordFile("fleet.jsonl", FleetRow, "What happened to the processes of the run, in one order."),
    RecordFile("events.jsonl", Stamped, "Every event that a process of the run has reported."),
    RecordFile(
        "secret.txt",
        None,
        "The accepted write, byte for byte: of several, the one that nothing can follow, or else the first. Absent when"
        " nothing was written.",
    ),
    RecordFile(
        "manifest.json",
        dict[str, str],
        "The SHA-256 of every evidence file in hexadecimal, written last: what was changed afterwards is no evidence"
        " any more. It guards against accidents, not against a person who seals the record anew.",
        False,
    ),
    RecordFile("verdict.json", Result, "The result, as `--json` prints it.", False),
    RecordFile("counters.json", CountersFile, "How often each event came, and what handlers did not do.", False),
    RecordFile(
        "live.json", LiveFile, "Where the run goes on: only while it does, and readable by its owner alone.", False
    ),
    RecordFile(
        "logs/",
        LogLine,
        "What the processes of the run printed, one file each. A line that begins with { is a notable event.",
        False,
    ),
)
"""In the order in which a person reads them."""
