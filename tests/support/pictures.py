"""Makes the pictures of the README anew: each page of the app, of a run that is simulated for it. No tests here.

`python -m tests.support.pictures`, then look at the difference. The key `w` makes such a picture of any screen.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from deploy.commands import main
from deploy.commands.recorded_run import load_recording
from telemetry.drawing.keys import PAGE_WORDS
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Page
from telemetry.record.folder import find_run
from telemetry.watch.app import WatchApp
from telemetry.watch.playback import Replay
from telemetry.watch.recording import Recording
from telemetry.watch.saving import self_contained
from tests.support.checkout import ROOT

PICTURES: Final = ROOT / "docs/screens"
SIZE: Final = (120, 36)
RUN: Final = (
    *("simulate", "-n", "12", "--seed", "7", "--for", "6s", "--loss", ".3"),
    *("--fault", "partition r00..r02|r03..r11 @0s+2s", "--fault", "loss .8 @4s+1s"),
    *("--chaos", "kill robot every 700ms", "--chaos", "pause r05 @1s+1s", "--chaos", "crash r03/secret_merger @1500ms"),
)
"""Two halves that are cut from each other, robots that die and one that is paused, and a loss that rises."""


class Shot(NamedTuple):
    """When a picture is taken, in seconds after the first event, and which keys are pressed before."""

    at_s: float
    keys: tuple[str, ...] = ()


SHOTS: Final[Mapping[Page, Shot]] = {
    "overview": Shot(2.15),
    "robots": Shot(2.15, ("j", "j", "j")),
    "faults": Shot(4.6),
    "supervision": Shot(4.6, ("j", "j", "j", "j")),
    "events": Shot(2.15),
    "verdict": Shot(60.0),
}


def make_pictures(folder: Path) -> None:
    """Simulate the run, and write one picture of each page into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for page, picture in asyncio.run(_taken(_recorded())).items():
        (folder / f"{page}.svg").write_text(picture, encoding="utf-8")


def _recorded() -> Recording:
    """The run, simulated in a folder of its own: no path of this machine is in its record."""
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with suppress(SystemExit):
                main([*RUN])
            return load_recording(find_run(Path("runs"), "latest"))[0]
        finally:
            os.chdir(before)


async def _taken(recording: Recording) -> dict[Page, str]:
    stage = Replay(recording, lambda: 0)
    stage.play(False)
    app, pictures = WatchApp(stage, None, Marks()), {}
    async with app.run_test(size=SIZE) as pilot:
        for page, shot in SHOTS.items():
            stage.seek(round(shot.at_s * 1e6))
            await pilot.press(PAGE_WORDS[page][0], *shot.keys)
            app.advance()
            await pilot.pause()
            pictures[page] = _named(self_contained(app.export_screenshot(title="robots")), recording.settings.run)
    return pictures


def _named(picture: str, run: str) -> str:
    """The picture with names that are the same each time: those of the run, and of its styles."""
    return re.sub(r"terminal-\d+", "screen", picture).replace(run, "5eed01")


if __name__ == "__main__":
    make_pictures(PICTURES)
