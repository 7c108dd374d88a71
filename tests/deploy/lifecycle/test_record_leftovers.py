"""What is removed from a folder of records, and what never is."""

from __future__ import annotations

import json
import os
from pathlib import Path

from deploy.lifecycle.record_leftovers import DRAFT_S, prune_records
from telemetry.record.folder import Record

DEAD = 2**22 + 1  # above the greatest pid of Linux


def aged(path: Path) -> Path:
    for each in (*(path.iterdir() if path.is_dir() else ()), path):
        old_s = each.stat().st_mtime - DRAFT_S - 1
        os.utime(each, (old_s, old_s))
    return path


def live(folder: Path, pid: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "live.json"
    path.write_text(json.dumps({"control": "redis://h", "data": "redis://h", "pid": pid}))
    return path


def test_a_draft_that_its_process_never_finished_is_removed(tmp_path: Path) -> None:
    # Given a process that was killed while it made a record
    drafting = Record.draft(tmp_path, "7b08e1")
    record = drafting.__enter__()
    record.write("settings", {})
    folder = record.folder
    # When records are pruned at once / Then it stays: its process may go on
    assert prune_records(tmp_path) == []
    # When it is old / Then it goes
    aged(folder)
    assert prune_records(tmp_path) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_a_live_json_goes_with_its_parent(tmp_path: Path) -> None:
    # Given runs of a parent that lives, of one that is dead, and a live.json that is damaged
    living, dead = live(tmp_path / "aaaaaa", os.getpid()), live(tmp_path / "bbbbbb", DEAD)
    damaged = tmp_path / "cccccc" / "live.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    # When records are pruned / Then only that of the dead one goes
    assert prune_records(tmp_path) == [dead]
    assert (living.exists(), damaged.exists()) == (True, True)


def test_a_record_is_never_touched(tmp_path: Path) -> None:
    # Given records, whole and half, old, and a folder of the user's
    for name in ("aaaaaa", "bbbbbb", "notes", ".git"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text("{}")
        aged(tmp_path / name)
    (tmp_path / "latest").symlink_to("aaaaaa")
    before = sorted(tmp_path.rglob("*"))
    # When records are pruned / Then all is there
    assert prune_records(tmp_path) == []
    assert sorted(tmp_path.rglob("*")) == before
    # And so it is where no run was ever recorded
    assert prune_records(tmp_path / "none") == []
