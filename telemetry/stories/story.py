"""A story: one line for people about something that happened, from its beginning to its end. Only values live here."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Tone = Literal["news", "good", "bad"]

WAITED_US: Final = 2_000_000
"""A story whose end is not known is told for so long after its beginning without it."""

GATHERED_US: Final = 1_000_000
"""What happens at many processes within so long is one story."""


class Story(msgspec.Struct, frozen=True):
    """`at_us`: when it began, by the run's wall clock; `text`: the sentence, without its time; `about`: the processes
    that it is about; `tone`: how a person should take it. When it has an end that may come late: `ended_us`, and
    `sequel`, a sentence about the end alone."""

    at_us: int
    text: str
    about: tuple[str, ...] = ()
    tone: Tone = "news"
    ended_us: int | None = None
    sequel: str = ""


class OpenStory(msgspec.Struct, frozen=True):
    """A story whose end is still to come, known by its `key`. `lasting`: what is so until the end (`not back`);
    `due_us`: from when on it is told without its end. Of a story that gathers, `members` are in it so far."""

    key: str
    at_us: int
    text: str
    about: tuple[str, ...] = ()
    tone: Tone = "bad"
    lasting: str = ""
    due_us: int = 0
    members: tuple[str, ...] = ()

    def so_far(self, now_us: int, is_over: bool) -> Story:
        """The story without its end, as it is told at that moment; `is_over`: the run is."""
        lasts = f"; {self.lasting}" if self.lasting else ""
        if lasts:
            lasts += " when the run ended" if is_over else f" after {max(0, now_us - self.at_us) // 1_000_000} s"
        return Story(self.at_us, self.text + lasts, self.about, self.tone)
