"""A story: one line for people about what happened, written when its end is known or was waited for long enough."""

from __future__ import annotations

from typing import Literal

import msgspec


class Story(msgspec.Struct, frozen=True):
    """`at_us`: when it began, by the run's wall clock; `text`: the sentence, without its time; `about`: the processes
    that it is about; `tone`: how a person should take it."""

    at_us: int
    text: str
    about: tuple[str, ...] = ()
    tone: Literal["news", "good", "bad"] = "news"
