"""Events on their way to the run's stream: batches, a stream that is away, and what becomes of too many."""

import pytest

from telemetry.events import ChannelPressure, RobotStarted, Stamped
from telemetry.handlers import publisher as module
from telemetry.handlers.publisher import Publisher, decode_events


def stamped(number: int) -> Stamped:
    return Stamped("run", "r00", 1, number, 0, 0, RobotStarted())


class Stream:
    """Where batches are stored, unless it is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.events: list[Stamped] = []

    def append(self, frame: bytes) -> bool:
        if not self.is_away:
            self.events += decode_events(frame)
        return not self.is_away


def publish(publisher: Publisher, numbers: range) -> None:
    for number in numbers:
        publisher.handle(stamped(number), lambda _stamped: None)


def test_events_wait_in_order_for_a_stream_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given batches of three, and a stream that is away
    monkeypatch.setattr(module, "BATCH", 3)
    publisher, stream = Publisher(), Stream()
    stream.is_away = True
    publish(publisher, range(1, 6))
    publisher.flush_blocking(stream.append)
    # When it is back, and more has come
    stream.is_away = False
    publish(publisher, range(6, 9))
    publisher.flush_blocking(stream.append)
    # Then all are stored, in order
    assert stream.events == [stamped(number) for number in range(1, 9)]


def test_what_was_dropped_is_told_once_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for five events, and a stream that is away while twelve happen
    monkeypatch.setattr(module, "ROOM", 5)
    publisher, stream = Publisher(), Stream()
    stream.is_away = True
    publish(publisher, range(1, 13))
    publisher.flush_blocking(stream.append)
    # When it is back
    stream.is_away = False
    publisher.flush_blocking(stream.append)
    publish(publisher, range(13, 15))
    publisher.flush_blocking(stream.append)
    # Then in the place of the seven that were dropped their number is told, under the last one's
    assert [event.number for event in stream.events] == [1, 2, 3, 4, 5, 12, 13, 14]
    assert stream.events[5].event == ChannelPressure("events", 7)
    # and when it happens again, all of this life are counted
    publish(publisher, range(15, 25))
    publisher.flush_blocking(stream.append)
    assert stream.events[-1].event == ChannelPressure("events", 12)
    assert stream.events[-1].number == 24
