"""Compares text with a golden file. `GOLDEN=write` writes it instead: read the difference before it is committed."""

from __future__ import annotations

import os
from difflib import unified_diff
from pathlib import Path


def assert_golden(file: Path, text: str) -> None:
    """The text is that of the file, which is written when that was asked for. Raises AssertionError."""
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text)
    assert file.exists(), f"there is no {file.name}; GOLDEN=write writes it"
    difference = unified_diff(file.read_text().splitlines(), text.splitlines(), file.name, "now", lineterm="")
    assert list(difference) == []
