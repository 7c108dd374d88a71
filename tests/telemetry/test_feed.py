"""The feed of events: an event that is in the stream twice is read once."""

from telemetry.events import RobotStarted, Stamped
from telemetry.stream.feed import EventFeed
from telemetry.stream.publisher import encode_events


def stamped(source: str, incarnation: int, number: int) -> Stamped:
    return Stamped("run", source, incarnation, number, 0, 0, RobotStarted())


def test_an_event_that_is_in_the_stream_twice_is_read_once() -> None:
    # Given batches of two sources, one stored again (with what came since) because its reply was lost; and garbage
    first, second, third = (stamped("r00", 1, number) for number in (1, 2, 3))
    other, reborn = stamped("r01", 1, 1), stamped("r00", 2, 1)
    batches = [[first, second], [other], [first, second, third], [reborn]]

    # When they are read
    received = list(EventFeed().receive([*map(encode_events, batches), b"garbage"]))

    # Then each event is there once
    assert received == [first, second, other, third, reborn]
