"""Events on their way to the run's stream: batches, a stream that is away, and what becomes of too many for memory."""

import asyncio
from collections.abc import Iterator

import pytest

from telemetry.events import ChannelPressure, RobotStarted, Stamped
from telemetry.stream import publisher as module
from telemetry.stream.publisher import Publisher, decode_events


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


class Box:
    """A spill that takes so many batches."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.tries = 0
        self.kept: list[bytes] = []

    def put(self, frame: bytes) -> bool:
        self.tries += 1
        if len(self.kept) < self.room:
            self.kept.append(frame)
            return True
        return False

    def frames(self) -> Iterator[bytes]:
        while self.kept:
            yield self.kept[0]
            self.kept.pop(0)


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


def test_dropped_events_are_reported_once_where_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
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
    # Then in the place of the seven that were dropped their number is reported, under the last one's
    assert [event.number for event in stream.events] == [1, 2, 3, 4, 5, 12, 13, 14]
    assert stream.events[5].event == ChannelPressure("events", 7)
    # and when it happens again, all of this life are counted
    publish(publisher, range(15, 25))
    publisher.flush_blocking(stream.append)
    assert stream.events[-1].event == ChannelPressure("events", 12)
    assert stream.events[-1].number == 24


def test_what_memory_has_no_room_for_is_spilled_and_stored_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for five events, batches of two, and a stream that is away while twelve happen
    monkeypatch.setattr(module, "ROOM", 5)
    monkeypatch.setattr(module, "BATCH", 2)
    box, stream = Box(), Stream()
    publisher = Publisher(box)
    stream.is_away = True
    publish(publisher, range(1, 13))
    publisher.flush_blocking(stream.append)
    assert [len(decode_events(frame)) for frame in box.kept] == [2, 2, 1, 2, 2, 1]
    # When it is back for a moment, and then, after more has happened, for good
    stream.is_away = False
    for frame in publisher._frames():
        assert stream.append(frame)
        break
    publish(publisher, range(13, 18))
    publisher.flush_blocking(stream.append)
    # Then nothing is missing, all is in order, and only what was not known to be stored stands there twice
    assert stream.events == [stamped(number) for number in (1, 2, *range(1, 18))]
    assert box.kept == []


def test_what_is_on_its_way_when_memory_is_full_is_in_the_spill_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for four events, and two of them on their way to the stream
    monkeypatch.setattr(module, "ROOM", 4)
    monkeypatch.setattr(module, "BATCH", 2)
    stream, publisher = Stream(), Publisher(Box())
    publish(publisher, range(1, 5))
    seconds = iter([lambda: publish(publisher, range(5, 8))])

    async def append(frame: bytes) -> bool:
        next(seconds, lambda: None)()  # When more happens meanwhile
        return stream.append(frame)

    asyncio.run(publisher.flush(append))
    # Then none is passed over, and those two come again
    assert [event.number for event in stream.events] == [1, 2, 1, 2, 3, 4, 5, 6, 7]


def test_events_are_dropped_and_reported_only_when_the_spill_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for five events, and for two batches of them in the spill
    monkeypatch.setattr(module, "ROOM", 5)
    box, stream = Box(2), Stream()
    publisher = Publisher(box)
    stream.is_away = True
    # When twenty happen while the stream is away
    publish(publisher, range(1, 21))
    stream.is_away = False
    publisher.flush_blocking(stream.append)
    # Then fifteen are stored, and the loss of the others is reported in the last one's place
    assert [event.number for event in stream.events] == [*range(1, 16), 20]
    assert stream.events[-1].event == ChannelPressure("events", 5)
    # and the spill was not tried again and again
    assert box.tries == 3


@pytest.mark.parametrize("room", [0, 1], ids=["and empty", "and was emptied"])
def test_a_spill_that_took_no_more_is_tried_again_as_soon_as_anything_was_stored(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    # Given a spill that took no more, and a stream that then took one batch and no more either
    monkeypatch.setattr(module, "ROOM", 5)
    box = Box(room)
    publisher = Publisher(box)
    publish(publisher, range(1, 12))
    assert box.tries == room + 1
    takes = iter([True])
    publisher.flush_blocking(lambda frame: next(takes, False))
    # When there is room in it again, and more happens than memory takes
    box.room = 1
    publish(publisher, range(12, 18))
    # Then it is used
    assert len(box.kept) == 1


def test_a_process_that_ends_while_the_stream_is_away_leaves_its_events_in_the_spill() -> None:
    # Given events that wait for a stream that is away
    box = Box()
    publisher = Publisher(box)
    publish(publisher, range(1, 4))
    # When their process ends
    publisher.spill()
    # Then they are in the spill
    assert [decode_events(frame) for frame in box.kept] == [[stamped(1), stamped(2), stamped(3)]]
    # and nothing else happens to one without a spill
    without = Publisher()
    publish(without, range(1, 4))
    without.spill()
    stream = Stream()
    without.flush_blocking(stream.append)
    assert [event.number for event in stream.events] == [1, 2, 3]
