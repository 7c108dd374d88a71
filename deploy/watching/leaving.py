"""How the screens are opened and left: what the command and the app tell each other. Light: no Textual."""

from __future__ import annotations

from typing import NamedTuple


class Appearance(NamedTuple):
    """How the screens look: so many paints a second, and whether they keep to ASCII."""

    hertz: int
    is_ascii: bool


class Left(NamedTuple):
    """How they were left. `has_crashed`: the app failed, and printed why; `wants_stop`: the person wants the run to
    stop; `by_signal`: this process was asked to end; `is_opened`: by the parent of the run, which was killed since if
    it `is_orphan`. `verdict`: of a run that is over, empty: not judged yet; None: it goes on."""

    has_crashed: bool = False
    wants_stop: bool = False
    by_signal: bool = False
    is_opened: bool = False
    is_orphan: bool = False
    verdict: str | None = None


def words_of(left: Left, run: str) -> str:
    """What the person has to know then, in one line; empty when that is nothing."""
    if left.is_orphan:
        return f"run {run} was killed: its process is gone; judge what is there: robots verify {run}"
    if left.is_opened and (left.has_crashed or left.by_signal):
        return ""  # the parent prints what became of the screens
    if left.verdict is None:
        return f"run {run} goes on; attach again: robots watch {run}"
    if left.is_opened:
        return ""  # the parent prints the result
    if not left.verdict:
        return f"run {run} is over; judge it with: robots verify --wait {run}"
    return f"run {run} is over: {left.verdict}; see it again: robots replay {run}"
