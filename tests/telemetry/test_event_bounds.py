"""What events may hold: anybody may write to their stream, so what does not fit is garbage for every reader."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from telemetry.events import MessageReceived, PartsMerged, RobotBorn, Stamped
from telemetry.stream.feed import EventFeed
from telemetry.stream.publisher import encode_events


def stamped(number: int, event: Any, wall_us: int = 1) -> Stamped:
    return Stamped("t", "r00", 1, number, wall_us, 1, event)


@pytest.mark.parametrize(
    "bad",
    [
        stamped(1, PartsMerged("r01", 1, 1, 0, (-1,), 3)),
        stamped(1, PartsMerged("r01", 1, 1, 0, (10**9,), 3)),
        stamped(1, MessageReceived("r01", 1, 1, 0, "summary", "00", 0, "x")),
        stamped(1, RobotBorn(-1, 0)),
        stamped(1, RobotBorn(1, 0), wall_us=1 << 60),
    ],
)
def test_an_event_out_of_bounds_is_garbage_and_those_that_follow_are_read(bad: Stamped) -> None:
    # Given a feed, and a batch with an event that no process of ours would emit
    feed = EventFeed()
    good = stamped(2, RobotBorn(1, 0))
    # When it is read, and another batch after it
    read = list(feed.receive([encode_events([bad]), encode_events([good])]))
    # Then that one is left out, and counted as missed
    assert (read, feed.missed) == ([good], 1)


def test_a_record_with_such_an_event_is_damaged() -> None:
    line = msgspec.json.encode(stamped(1, PartsMerged("r01", 1, 1, 0, (-1,), 3)))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(line, type=Stamped)
