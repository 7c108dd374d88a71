"""The stories of a run, told ones and open ones: how a story begins, gathers, ends and is told. What an event does to
them stands elsewhere.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from telemetry.events import Stamped
from telemetry.stories.story import GATHERED_US, WAITED_US, OpenStory, Story, Tone

_AGAIN = "{}, and again"


class Book:
    """`whole`: stories with their ends, in the order in which they became known. `open`: those that still go on, by
    their keys. `is_over`: the run was stopped; nothing is waited for any more."""

    def __init__(self) -> None:
        self.whole: list[Story] = []
        self.open: dict[str, OpenStory] = {}
        self.is_over = False
        self.plan: tuple[str, ...] | None = None
        """The faults in force, as they were told last."""
        self._ended_us: dict[str, int] = {}  # by key, the last end of such a story

    def report(self, at_us: int, text: str, *about: str, tone: Tone = "news") -> None:
        """Tell a story that is whole."""
        self.whole.append(Story(at_us, text, about, tone))

    def begin(self, key: str, at_us: int, text: str, *about: str, lasting: str, waited_us: int = WAITED_US) -> None:
        """Begin a story; one of that key that goes on is continued by it."""
        before = self.open.get(key)
        if before is not None:
            more = text.removeprefix(f"{about[0]} ") if about else text
            if not before.text.endswith(_AGAIN.format(more)):
                again = before.text.endswith(more)
                text = before.text.removesuffix(more) + _AGAIN.format(more) if again else f"{before.text}; {more}"
                self.open[key] = replace(before, text=text, lasting=lasting)
        else:
            self.open[key] = OpenStory(key, at_us, text, about, "bad", lasting, at_us + waited_us)

    def add(self, key: str, text: str, lasting: str, due_us: int) -> None:
        """More about a story that goes on; from `due_us` on it is told."""
        story = self.open[key]
        due_us = min(due_us, story.due_us)
        self.open[key] = replace(story, text=f"{story.text}; {text}", lasting=lasting, due_us=due_us)

    def end(self, key: str, at_us: int, text: str, sequel: str, tone: Tone = "good") -> bool:
        """End a story; False when none of that key goes on. `sequel`: the sentence for those who know its beginning."""
        self._ended_us[key] = max(at_us, self._ended_us.get(key, 0))
        story = self.open.pop(key, None)
        if story is None:
            return False
        self.whole.append(Story(story.at_us, f"{story.text}; {text}", story.about, tone, at_us, sequel))
        return True

    def end_gathered(self, key: str, at_us: int, text: Callable[[tuple[str, ...]], str]) -> None:
        """End a story that goes on, and gather it with those of that key that ended shortly before."""
        story = self.open.pop(key)
        self._ended_us[key] = max(at_us, self._ended_us.get(key, 0))
        self.gather(f"ended {key}", story.at_us, key, text, *story.about, tone="good")

    def is_past(self, key: str, at_us: int) -> bool:
        """Whether a story of that key has ended after that moment: what began it may be reported late."""
        return self._ended_us.get(key, -1) > at_us

    def is_known(self, key: str, at_us: int) -> bool:
        """Whether a story of that key goes on, or has ended after that moment."""
        return key in self.open or self.is_past(key, at_us)

    def go_on_as(self, key: str, other: str, text: str, lasting: str) -> bool:
        """A story goes on as one of another key, with more about it; False when none of that key goes on."""
        story = self.open.pop(key, None)
        if story is None:
            return False
        self.open[other] = replace(story, key=other, text=f"{story.text}; {text}", lasting=lasting)
        return True

    def gather(
        self,
        key: str,
        at_us: int,
        member: str,
        text: Callable[[tuple[str, ...]], str],
        about: str,
        *,
        tone: Tone = "bad",
    ) -> None:
        """A story of many members that happens to them at about the same time; `text` of all of them."""
        story = self.open.get(key)
        if story is not None and at_us > story.due_us:
            self._close(key, story)
            story = None
        members = (*(story.members if story else ()), member)
        names = dict.fromkeys((*(story.about if story else ()), *([about] if about else ())))
        began_us = min(story.at_us, at_us) if story else at_us
        due_us = story.due_us if story else at_us + GATHERED_US
        self.open[key] = OpenStory(key, began_us, text(members), tuple(names), tone, "", due_us, members)

    def repeat(self, key: str, at_us: int, text: str, about: str = "", tone: Tone = "bad") -> None:
        """A story of something that may happen again and again."""
        self.gather(key, at_us, text, lambda members: members[0] + times(members), about, tone=tone)

    def settle(self, now_us: int) -> None:
        """Close what has been gathered for long enough by that moment."""
        for key, story in list(self.open.items()):
            if story.members and now_us > story.due_us:
                self._close(key, story)

    def close(self) -> None:
        """Tell what is open, without its end."""
        for key, story in list(self.open.items()):
            self._close(key, story)

    def until(self, now_us: int) -> Sequence[Story]:
        """The stories that are known at that moment, in order of their beginning."""
        stories: list[Story] = []
        for story in (*self.whole, *self._waiting(now_us)):
            if not stories or stories[-1].at_us <= story.at_us:
                stories.append(story)
            else:
                insort(stories, story, key=_at_us)
        return stories

    def copy(self) -> Book:
        other = Book()
        other.whole, other.open, other.is_over = self.whole.copy(), self.open.copy(), self.is_over
        other.plan, other._ended_us = self.plan, self._ended_us.copy()
        return other

    def _waiting(self, now_us: int) -> Iterable[Story]:
        """Open stories that are told without their end; what gathers is told at once."""
        for story in self.open.values():
            if self.is_over or story.members or now_us >= story.due_us:
                yield story.so_far(now_us, self.is_over)

    def _close(self, key: str, story: OpenStory) -> None:
        del self.open[key]
        self.whole.append(story.so_far(story.at_us, is_over=True))


def _at_us(story: Story) -> int:
    return story.at_us


def times(members: Sequence[object]) -> str:
    """How often, if more than once."""
    return f", {len(members)} times" if len(members) > 1 else ""


Act = Callable[[Book, Stamped, Any], None]
"""What an event does to the stories: the event stands in the stamped one, and again with its own type."""
