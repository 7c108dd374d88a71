"""The reader of records: typed rows, and one line that names a file when it is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from telemetry.events import RunStopped, Stamped
from telemetry.record.folder import Record
from telemetry.record.reader import RecordReader, Unreadable
from telemetry.record.rows import (
    BornRow,
    DealtPart,
    DeathRow,
    FateRow,
    InjectionRow,
    LostRow,
    PartRow,
    PlanRow,
    RedoRow,
)
from telemetry.record.settings import RunSettings, decode_settings, ended_as
from tests.support.recorded_settings import settings_row

ASKED = {"request_id": "", "request": "", "refusal": ""}
CHANGE = {"shard": 0, "id": "5-0", "control": "plan", "faults": [{"instance": 1, "fault": "loss 0.2"}], **ASKED}
BIRTH = {"shard": 0, "id": "6-0", "control": "born", "robot": "r00", "incarnation": 1}
INJECTION = {"id": "7-0", "row": "injection", "verb": "kill", "target": "robot", "victim": "r03"}
DEATH = {"id": "8-0", "row": "death", "victim": "r03", "robot": "r03", "incarnation": 1, "how": "signal", "status": 9}


FATE = {
    "row": "fate",
    "shard": 0,
    "id": "6-1",
    "stored": "7-0",
    "sender": "r00",
    "incarnation": 1,
    "receiver": "r01",
    "sequence": 1,
    "exchange": "00" * 8,
    "kind": "summary",
    "fate": "lost",
    "deliveries": [],
    "body": 9,
    "wire": 60,
    "faults": [{"instance": 1, "fault": "loss 0.2"}],
}
PART = {"robot": "r00", "id": "0-2", "entry": "part", "index": 0, "word": "oak", "last": True, "cause": None}
STOPPED = Stamped("abc123", "lab", 0, 1, 9_000, 9_000, RunStopped("complete"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record = Record(tmp_path)
    record.write("settings", settings_row(robots=7))
    record.write("deal", {"sha256": "ab", "parts": 3, "indices": [{"index": 0, "holders": ["r00"], "digest": "cd"}]})
    record.write("streams", {"orders": [{"id": "4-0", "order": "go"}, {"id": "3-1", "order": "go"}]})
    record.write("verdict", {"verdict": "HELD", "promises": {}})
    record.write_rows("plan", [CHANGE, BIRTH])
    record.write_rows("fleet", [INJECTION, DEATH])
    record.write_rows("fates", [FATE, {"row": "redo", "shard": 0, "stored": "9-1", "redo": ["5-0"]}])
    record.write_rows("journals", [PART, {"robot": "r01", "entry": "lost"}])
    record.write_rows("events", [msgspec.to_builtins(STOPPED)])
    return tmp_path


def test_a_record_is_read_into_typed_rows(folder: Path) -> None:
    record = RecordReader(folder)

    assert (record.settings().robots, record.verdict(), record.secret_sha256()) == (7, "HELD", "ab")
    assert [(row.id, row.faults[0].fault) for row in record.plan()] == [("5-0", "loss 0.2")]
    assert [(row.verb, row.victim) for row in record.injections()] == [("kill", "r03")]
    assert (record.order_us("go"), record.order_us("stop"), record.written_secret()) == (3000, None, None)


def test_a_history_is_all_that_a_record_holds(folder: Path) -> None:
    history = RecordReader(folder).history()

    assert (history.settings.robots, history.dealt) == (7, (DealtPart(0, ("r00",)),))
    assert [type(row) for row in history.controls] == [PlanRow, BornRow]
    assert [type(row) for row in history.fates] == [FateRow, RedoRow]
    assert [type(row) for row in history.journals] == [PartRow, LostRow]
    assert [type(row) for row in history.fleet] == [InjectionRow, DeathRow]
    assert [order.id for order in history.orders] == ["4-0", "3-1"]
    assert history.events == [STOPPED]


READS: list[tuple[str, Callable[[RecordReader], object]]] = [
    ("settings.json", RecordReader.settings),
    ("deal.json", RecordReader.secret_sha256),
    ("streams.json", lambda record: record.order_us("go")),
    ("verdict.json", RecordReader.verdict),
    ("plan.jsonl", RecordReader.plan),
    ("fleet.jsonl", RecordReader.injections),
    ("fates.jsonl", RecordReader.history),
    ("journals.jsonl", RecordReader.history),
    ("events.jsonl", RecordReader.history),
]


@pytest.mark.parametrize(("name", "read"), READS, ids=[name for name, _ in READS])
@pytest.mark.parametrize("content", [None, b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a": 1}'])
def test_damage_is_one_line_that_names_the_file(
    folder: Path, name: str, read: Callable[[RecordReader], object], content: bytes | None
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)

    with pytest.raises(Unreadable, match=name) as error:
        read(RecordReader(folder))

    assert "\n" not in str(error.value)


def test_settings_come_back_as_they_were_written() -> None:
    settings = msgspec.convert(settings_row(plan=["loss 0.2"], instances=[3]), RunSettings)
    ended = ended_as(settings, "complete", 0.5, None)

    assert decode_settings(json.dumps(msgspec.to_builtins(ended)).encode()) == ended
    assert (settings.ended, ended.ended, ended.seconds.born) == (None, "complete", 0.5)
