"""Makes stories of events: a fold that the plain lines and the screens share."""

from __future__ import annotations

from collections.abc import Sequence

from telemetry.console import event_text, is_notable
from telemetry.events import Stamped
from telemetry.stories.story import Story
from telemetry.view import View


class Stories:
    """Those of a run so far."""

    def __init__(self) -> None:
        self._stories: tuple[Story, ...] = ()

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Take an event; `view`: the view after it."""
        if is_notable(stamped):
            self._stories = (*self._stories, Story(stamped.wall_us, event_text(stamped), (stamped.source,)))

    def until(self, now_us: int) -> Sequence[Story]:  # noqa: ARG002
        """The stories that are known at that moment, in order of their beginning."""
        return self._stories

    def copy(self) -> Stories:
        other = Stories()
        other._stories = self._stories
        return other
