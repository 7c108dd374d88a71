"""Cells of a table: texts cut or padded to the width of their column, and what stands above a list."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from telemetry.drawing.line import Fragment, Line, Tone, line


def cell(text: str, width: int, tone: Tone = "", is_number: bool = False) -> Fragment:
    """A text in exactly so many cells; a number stands at the right."""
    has = len(text) if text.isascii() else cell_len(text)
    if has > width:
        text = set_cell_size(text, max(0, width - 1)) + "…" * (width > 0)
    else:
        blank = " " * (width - has)
        text = blank + text if is_number else text + blank
    return Fragment(text, tone)


def window(of: int, cursor: int, room: int) -> tuple[slice, int]:
    """Which of so many rows are drawn, so that the one under the cursor is among them, and its place there."""
    cursor = max(0, min(cursor, of - 1))
    first = max(0, min(cursor - room // 2, of - room))
    return slice(first, min(of, first + room)), cursor - first


def nothing(what: str, is_only_trouble: bool, filter_text: str) -> Line:
    """Why a list is empty, and how to see more."""
    if filter_text:
        return line(Fragment(f"No {what} matches the filter; esc removes it.", "news"))
    return line(Fragment(f"No {what} is in trouble; o shows all." if is_only_trouble else f"No {what} yet.", "good"))


def list_title(name: str, shown: int, of: int, *facts: str) -> Line:
    """The title of a list: how many of how many it shows, and why not more."""
    rest = "".join(f"   {fact}" for fact in facts if fact)
    return line(Fragment(f"{name} ", "title"), f"{shown} of {of}", Fragment(rest, "dim"))


def ago(at_us: int, now_us: int) -> str:
    """How long ago something was: `0.3s`, `12s`, `4m`; `-` when it never was."""
    if not at_us:
        return "-"
    past_us = max(0, now_us - at_us)
    if past_us < 9_950_000:
        return f"{past_us / 1e6:.1f}s"
    return f"{past_us // 1_000_000}s" if past_us < 600_000_000 else f"{past_us // 60_000_000}m"


def after_go(at_us: int, go_us: int | None) -> str:
    """A moment in seconds after `go`; before `go` was given, `-`."""
    return "-" if go_us is None else f"{(at_us - go_us) / 1e6:.3f}s"
