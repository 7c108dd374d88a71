"""The promises so far, and what happened: facts and stories, the newest at the bottom."""

from __future__ import annotations

from typing import Final

from telemetry.drawing.line import Fragment, Line, Size, headed, line, wrapped
from telemetry.drawing.marks import Marks
from telemetry.scene.promises import Fact
from telemetry.scene.scene import Scene
from telemetry.stories.story import Story

_NAME: Final = 13  # the longest: honest faults
_LINES: Final = 4  # of a story: a death for good needs them in a narrow panel
_URGENCY: Final = ("bad", "", "good")


def promises(scene: Scene, size: Size, marks: Marks) -> list[Line]:
    """The panel: what speaks against a promise first, when not all fit. The verdict comes after the end."""
    facts = list(scene.facts)
    if size.height - 1 < len(facts):
        facts.sort(key=lambda fact: _URGENCY.index(fact.tone))
    title = line(Fragment("PROMISES SO FAR", "title"), Fragment("  facts; the verdict comes at the end", "dim"))
    return headed(title, (_fact(fact, marks) for fact in facts), size)


def summary(scene: Scene) -> Line:
    """All promises in one line."""
    bad = [fact for fact in scene.facts if fact.tone == "bad"]
    if bad:
        return line(Fragment("; ".join(f"{fact.promise}: {fact.text}" for fact in bad), "bad"))
    return line(Fragment("promises so far: nothing against any", "dim"))


def stories(scene: Scene, size: Size) -> list[Line]:
    """The panel: as many of the newest as fit."""
    lines: list[Line] = []
    for story in reversed(scene.stories.until(scene.now_us)):
        older = _lines_of(scene, story, Size(size.width, size.height - 1))
        if len(lines) + len(older) >= size.height:
            break
        lines = [*older, *lines]
    return headed(line(Fragment("WHAT HAPPENED", "title")), lines, size)


def _fact(fact: Fact, marks: Marks) -> Line:
    mark = {"bad": marks.against, "good": marks.done, "": " "}[fact.tone]
    return line(Fragment(f"{mark} {fact.promise:<{_NAME}} {fact.text}", fact.tone))


def _lines_of(scene: Scene, story: Story, room: Size) -> list[Line]:
    """A story with its time since `go`, in as many lines as it needs, and as there are."""
    at_s = (story.at_us - scene.go_us) / 1e6 if scene.go_us is not None else None
    time = "" if at_s is None else f"{at_s:6.2f}s "
    first, *more = wrapped(story.text, room.width - len(time), max(1, min(_LINES, room.height)))
    return [
        line(Fragment(time, "dim"), Fragment(first, story.tone)),
        *(line(Fragment(" " * len(time)), Fragment(text, story.tone)) for text in more),
    ]
