"""The feed of events: an event that is in the stream twice is read once."""

from telemetry.events import RobotStarted, Stamped
from telemetry.stream.feed import EventFeed
from telemetry.stream.publisher import encode_events


class Frames:
    """A stream of events, as far as it was read."""

    def __init__(self, *frames: bytes) -> None:
        self._frames = list(frames)

    def read(self, retry_s: float = 0.0) -> list[bytes]:
        frames, self._frames = self._frames, []
        return frames


def stamped(source: str, incarnation: int, number: int) -> Stamped:
    return Stamped("run", source, incarnation, number, 0, 0, RobotStarted())


def test_an_event_that_is_in_the_stream_twice_is_read_once() -> None:
    # Given batches of two sources, one stored again (with what came since) because its reply was lost; and garbage
    first, second, third = (stamped("r00", 1, number) for number in (1, 2, 3))
    other, reborn = stamped("r01", 1, 1), stamped("r00", 2, 1)
    batches = [[first, second], [other], [first, second, third], [reborn]]

    # When they are read
    received = list(EventFeed(Frames(*map(encode_events, batches), b"garbage")).read())

    # Then each event is there once
    assert received == [first, second, other, third, reborn]
