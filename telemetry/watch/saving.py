"""Takes a screen out of the app: as a picture and as text into files, and a row to the clipboard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from telemetry.console import harmless
from telemetry.drawing.line import text_of
from telemetry.watch.base import WatchBase

_FETCHED: Final = re.compile(r"@font-face\s*\{[^}]*\}|<!--.*?-->", re.DOTALL)
"""What a viewer would load from the network, and where the picture's maker says who it is."""


class Saving(WatchBase):
    """Files go into the record's folder; into the current one, when there is none or it cannot be written to."""

    def action_save(self) -> None:
        folders = [each for each in (self.stage.status.folder, Path.cwd()) if each is not None]
        trouble = ""
        for folder in folders:
            try:
                saved = self._save_into(folder)
            except OSError as error:
                trouble = f"{folder}: {error.strerror or error}"
                continue
            self.notify(f"saved {saved}.svg and .txt", timeout=6, markup=False)
            return
        self.notify(f"nothing was saved: {trouble}", severity="error", markup=False)

    def _save_into(self, folder: Path) -> Path:
        """The path of both files, without its ending. Raises OSError."""
        number = 1
        while (place := folder / f"screen-{number}-{self.chosen.page}").with_suffix(".svg").exists():
            number += 1
        place.with_suffix(".svg").write_text(self_contained(self.export_screenshot()), encoding="utf-8")
        text = "\n".join(harmless(text_of(each)).rstrip() for each in self.shown)
        place.with_suffix(".txt").write_text(f"{text}\n", encoding="utf-8")
        return place

    def action_copy(self) -> None:
        """What is marked on the screen, or else the row's name."""
        marked = [[fragment.text for fragment in each if fragment.tone == "chosen"] for each in self.shown]
        text = harmless("".join(next(filter(None, reversed(marked)), []))).strip() or self.row
        if text:
            self.copy_to_clipboard(text)
            self.notify(f"copied: {text}", timeout=3, markup=False)


def self_contained(svg: str) -> str:
    """The picture, without what would be fetched from elsewhere when it is seen."""
    return _FETCHED.sub("", svg)
