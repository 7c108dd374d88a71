"""A record that was changed after it was sealed shows nothing, and still convicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from telemetry.record.folder import EVIDENCE, Record
from telemetry.verdict.case import load
from telemetry.verdict.judge import judge
from tests.verdict.honest_record import put
from tests.verdict.scribe import Files


def sealed_states(folder: Path) -> set[str]:
    return {promise.state for promise in judge(load(folder)).promises.values()}


@pytest.mark.parametrize("name", [*EVIDENCE, "manifest.json"])
def test_nothing_is_held_by_a_record_that_was_changed_after_it_was_sealed(
    name: str, files: Files, tmp_path: Path
) -> None:
    # Given a sealed record
    folder = put(tmp_path / "abc123", files)
    assert sealed_states(folder) == {"HELD"}
    whole = (folder / name).read_bytes()
    middle = len(whole) // 2
    edited = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    # When any file is edited by a byte, cut, lengthened, emptied or removed
    for content in (edited, whole[:-3], whole[:middle], whole + b"x", b"", None):
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        # Then no promise is HELD, and the result can still be printed
        result = judge(load(folder))
        assert "HELD" not in {promise.state for promise in result.promises.values()}
        assert any("as it was recorded" in promise.why for promise in result.promises.values())
        json.dumps(result.json)
    # Until it stands there again as it was
    (folder / name).write_bytes(whole)
    assert sealed_states(folder) == {"HELD"}


def test_a_manifest_must_name_what_is_there_and_nothing_else(files: Files, tmp_path: Path) -> None:
    folder = put(tmp_path / "abc123", files)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest) == list(EVIDENCE)
    for name in EVIDENCE:
        (folder / "manifest.json").write_text(json.dumps({key: manifest[key] for key in manifest if key != name}))
        assert sealed_states(folder) == {"UNPROVEN"}
    for strange in ({**manifest, "/dev/zero": "0"}, [manifest], {**manifest, "deal.json": None}, None):
        (folder / "manifest.json").write_text(json.dumps(strange))
        assert sealed_states(folder) == {"UNPROVEN"}


def test_a_record_that_was_changed_still_convicts(files: Files, tmp_path: Path) -> None:
    # Given a record whose secret was changed after it was sealed
    folder = put(tmp_path / "abc123", files)
    (folder / "register.json").write_text((folder / "register.json").read_text().replace("lacht", "weint"))
    # When it is judged
    result = judge(load(folder))
    # Then what it shows to be broken is BROKEN, and what it would show to be held is not
    assert result.promises["right"].state == "BROKEN"
    assert result.promises["once"].why == "register.json is not as it was recorded"
    assert result.exit_code == 1


def test_what_is_no_evidence_may_come_and_go(files: Files, tmp_path: Path) -> None:
    folder = put(tmp_path / "abc123", files)
    (folder / "logs").mkdir()
    Record(folder).write("verdict", {})
    assert sealed_states(folder) == {"HELD"}
