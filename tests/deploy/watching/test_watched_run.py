"""Which live run is watched, and how one that is just beginning is waited for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.streams.address import Address
from deploy.config.settings import PlaceSettings
from deploy.watching.watched_run import BEGIN_S, find_watched
from telemetry.record.folder import NoSuchRun
from tests.support.checkout import ROOT

URL = "unix:///nowhere/redis.sock"


@pytest.fixture
def place(tmp_path: Path) -> PlaceSettings:
    return PlaceSettings(runs_dir=tmp_path / "runs")


def dealt(place: PlaceSettings, run: str = "7f3a00") -> Path:
    """The folder of a run as its parent leaves it before the first process: it cannot be reached yet."""
    folder = place.runs_dir / run
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    (place.runs_dir / "latest").symlink_to(run)
    return folder


def announce(folder: Path) -> None:
    (folder / "live.json").write_text(json.dumps({"control": URL, "data": URL, "pid": os.getpid()}))


def no_wait(_seconds: float) -> bool:
    raise AssertionError("there is nothing to wait for")


def steps(*actions: Callable[[], object]) -> Callable[[float], bool]:
    """A pause in which something happens, each time another thing."""
    left = list(actions)

    def pause(_seconds: float) -> bool:
        left.pop(0)()
        return True

    return pause


@pytest.mark.parametrize("name", ["7f3a00", "7f", "latest", None])
def test_a_run_that_begins_is_waited_for_with_one_line(place: PlaceSettings, name: str | None) -> None:
    # Given a run that was dealt just now, and is reached after a while
    folder, lines = dealt(place), []
    pause = steps(lambda: None, lambda: announce(folder))
    # When a person wants to watch it, by any of its names
    found = find_watched(place, name, pause, lines.append)
    # Then it is found, and one line told why it took a while
    assert (found.run, found.address, found.parent) == ("7f3a00", Address.one(URL), os.getpid())
    assert lines == ["run 7f3a00 is just being dealt or judged; waiting for it"]


def test_a_run_that_is_judged_meanwhile_is_to_be_seen_again(place: PlaceSettings) -> None:
    folder = dealt(place)

    with pytest.raises(NoSuchRun, match="run 7f3a00 is over; see it again with: robots replay 7f3"):
        find_watched(place, "7f3", steps((folder / "verdict.json").touch), lambda _line: None)


def test_an_old_folder_without_a_verdict_is_not_waited_for(place: PlaceSettings) -> None:
    # Given a run that never began: its parent was killed long ago
    path = dealt(place) / "settings.json"
    os.utime(path, (path.stat().st_mtime - BEGIN_S, path.stat().st_mtime - BEGIN_S))

    with pytest.raises(NoSuchRun, match="is not live any more"):
        find_watched(place, "7f3a00", no_wait, lambda _line: None)


def test_a_person_may_stop_to_wait(place: PlaceSettings) -> None:
    dealt(place)

    with pytest.raises(NoSuchRun):
        find_watched(place, "7f3a00", lambda _seconds: False, lambda _line: None)


def test_without_any_run_a_person_reads_how_to_start_one(place: PlaceSettings) -> None:
    with pytest.raises(NoSuchRun, match="robots run"):
        find_watched(place, None, no_wait, lambda _line: None)


@pytest.mark.parametrize("command", ["run", "watch", "ps"])
def test_no_command_loads_textual_before_it_shows_screens(command: str) -> None:
    code = f"import sys, deploy.commands.{command}; sys.exit('textual' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
