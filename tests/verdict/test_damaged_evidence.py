"""Damaged evidence is never HELD, and never a traceback."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from telemetry.record.folder import Record
from telemetry.verdict import judge as judging
from telemetry.verdict.case import load
from telemetry.verdict.judge import judge
from tests.verdict.honest_record import put
from tests.verdict.judged import verdict_on
from tests.verdict.scribe import FILES, ROW_FILES, Files

GARBAGE = {
    "nothing": b"",
    "null": b"null\n",
    "a list": b"[]\n",
    "an object": b"{}\n",
    "noise": b"\x00\xff\xfe garbage \x80\n",
    "deep nesting": b"[" * 100_000 + b"\n",
    "a huge number": b'{"seed": 1e999}\n',
    "a text": b'"secret"\n',
}


@pytest.mark.parametrize("name", [*FILES.values(), "secret.txt"])
def test_a_damaged_file_is_never_held(name: str, files: Files, tmp_path: Path) -> None:
    # Given a record whose file is missing, cut in half, or garbage
    folder = put(tmp_path / "abc123", files)
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    Record(folder).seal()
    missing = judge(load(folder))
    assert missing.verdict == "UNPROVEN"
    if name != "secret.txt":
        assert any(f"{name} is missing" in promise.why for promise in missing.promises.values())
    for content in (whole[: len(whole) // 2], whole[:-20], *GARBAGE.values()):
        (folder / name).write_bytes(content)
        Record(folder).seal()  # so that the judge has to see it by itself
        # When it is judged
        result = judge(load(folder))
        # Then it does not pass, no check crashed, and the result can still be printed
        assert result.verdict != "HELD", content[:40]
        assert not any("crashed" in promise.why for promise in result.promises.values())
        json.dumps(result.json)


def test_an_empty_folder_is_unproven_throughout(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        result = judge(load(folder))
        assert {promise.state for promise in result.promises.values()} == {"UNPROVEN"}
        assert (result.verdict, result.run, result.seconds.total, result.until_complete.messages.sent) == (
            "UNPROVEN",
            None,
            None,
            None,
        )


@pytest.mark.parametrize("file", ROW_FILES)
def test_a_file_cut_between_its_lines_is_never_held(file: str, files: Files) -> None:
    whole = files[file]
    for length in range(len(whole)):
        assert verdict_on(files | {file: whole[:length]}).verdict != "HELD", length


@pytest.mark.parametrize("file", ROW_FILES)
def test_no_line_can_be_taken_out_unnoticed(file: str, files: Files) -> None:
    # Given any single line, except what the lab itself saw, and the tail of a life that was killed
    whole = files[file]
    tail = max((row["number"] for row in whole if row.get("source") == "r02" and row["incarnation"] == 1), default=None)
    for place, row in enumerate(whole):
        if row.get("source") == "lab" or (row.get("source"), row.get("number")) == ("r02", tail):
            continue
        # When it is missing, then the record does not pass
        assert verdict_on(files | {file: whole[:place] + whole[place + 1 :]}).verdict != "HELD", row


def test_a_missing_field_is_never_held_and_never_a_crash(files: Files) -> None:
    # Given the fields that a check looks at, one of them taken out at a time
    unread = {"settings": {"mode", "copies", "for_us", "limit_us", "shards"}}
    for name in ("settings", "deal", "register", "streams"):
        for field in files[name].keys() - unread.get(name, set()):
            content = {key: value for key, value in files[name].items() if key != field}
            result = verdict_on(files | {name: content})
            assert result.verdict == "UNPROVEN", (name, field)
            assert any(f"`{field}`" in promise.why for promise in result.promises.values())


def mutated(value: Any, chance: random.Random) -> Any:
    """`value` with one of its leaves replaced by something else."""
    strange = [None, -1, 0, 2**70, 1.5, "", "r00", "0-0", "a-b", [], {}, True, "1-1", [None], {"robot": 3}]
    if isinstance(value, dict) and value and chance.random() < 0.95:
        key = chance.choice(list(value))
        return {**value, key: mutated(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.95:
        place = chance.randrange(len(value))
        return [*value[:place], mutated(value[place], chance), *value[place + 1 :]]
    return chance.choice(strange)


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_makes_the_judge_raise(seed: int, files: Files) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        name = chance.choice(list(FILES))
        result = verdict_on(files | {name: mutated(files[name], chance)})
        assert result.verdict in judging.EXIT_CODES
        json.dumps(result.json)
