"""What the run's stream of events promises its writers and readers."""

from __future__ import annotations

import pytest

from broker.streams.embedded import EmbeddedServer
from broker.streams.reading import Entry
from broker.streams.run.events import BlockingEventLog
from telemetry.events import RobotStarted, Stamped
from telemetry.stream.feed import EventFeed
from telemetry.stream.publisher import encode_events
from tests.support.port_labs import StreamsLab
from tests.support.waiting import await_true


@pytest.mark.live
def test_every_reader_of_events_gets_each_batch_once_and_in_order(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given batches, and a reader of them
        events, early = lab.event_log(), lab.event_source()
        for batch in (b"one", b"two"):
            assert await events.append(batch)
        assert early.read() == [b"one", b"two"]
        assert early.read() == []
        # When another batch comes, then it gets that alone, and a late reader all
        assert await events.append(b"three")
        assert early.read() == [b"three"]
        assert lab.event_source().read() == [b"one", b"two", b"three"]

    lab.play(story)


@pytest.mark.live
def test_the_recorder_forgets_events_that_it_has_read_except_the_newest(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given a recorder that keeps a hundred batches for others, and a watcher that was there early
        events, recorder, early = lab.event_log(), lab.event_source(keep=100), lab.event_source()
        batches = [encode_events([Stamped("run", "r00", 1, n, 0, 0, RobotStarted())]) for n in range(1, 1001)]
        await events.append(batches[0])
        watcher = EventFeed()
        assert len(list(watcher.receive(early.read()))) == 1
        # When a thousand come
        recorded = []
        for batch in batches[1:]:
            await events.append(batch)
            recorded += recorder.read()
        # Then it got all of them, and about the newest hundred are left for a reader that joins now
        assert recorded == batches
        left = lab.event_source().read()
        assert 100 <= len(left) <= 300
        assert left == batches[-len(left) :]
        # and a watcher that fell behind notices how many it missed
        assert len(list(watcher.receive(early.read()))) == len(left)
        assert watcher.missed == 999 - len(left)

    lab.play(story)


@pytest.mark.live
def test_events_that_the_recorder_has_not_read_are_never_forgotten(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given a recorder that keeps ten batches, and stays away while five hundred come
        events, recorder = lab.event_log(), lab.event_source(keep=10)
        batches = [b"batch %d" % number for number in range(500)]
        for batch in batches:
            await events.append(batch)
        # When it reads again, then none of them is missing
        assert recorder.read() == batches

    lab.play(story)


@pytest.mark.live
def test_a_reader_notices_a_server_that_came_back_without_the_last_batch_that_it_read(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given readers, of which one has read all batches, one the first, and one nothing
        events, reader, early, late = lab.event_log(), lab.event_source(), lab.event_source(), lab.event_source()
        await events.append(b"one")
        assert early.read() == [b"one"]
        await events.append(b"two")
        assert reader.read() == [b"one", b"two"]
        assert not any(source.is_older() for source in (reader, early, late))
        # When the server forgets the last batch, and gets another one, which all read before they are asked; in a later
        # millisecond, because no server starts again within one
        lab.forget(lab.keys.events, 1)
        stored_s, stored_us = lab.server.time()
        await_true(lambda: lab.server.time() > (stored_s, stored_us + 1_000), 1, "the next millisecond")
        await events.append(b"three")
        assert [source.read()[-1:] for source in (reader, early, late)] == [[b"three"]] * 3
        # Then the one that had read it knows, and only that one can
        assert [source.is_older() for source in (reader, early, late)] == [True, False, False]

    lab.play(story)


@pytest.mark.live
def test_a_reader_far_from_its_server_comes_to_an_end_while_others_write(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")
    reader = lab.event_source()
    page = reader._page

    def read_slowly() -> list[Entry]:
        # Given that something is written whenever a reply is on its way
        entries = page()
        BlockingEventLog(lab.server, lab.keys.events).append(b"later")
        return entries

    reader._page = read_slowly  # type: ignore[method-assign]
    for _ in range(300):
        BlockingEventLog(lab.server, lab.keys.events).append(b"before")

    # When it reads / Then it gets what was there, and the rest the next time
    assert reader.read() == [b"before"] * 300 + [b"later"]
    assert reader.read() == [b"later"]
    lab.server.close()


@pytest.mark.live
def test_what_was_trimmed_is_not_taken_for_forgotten(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")

    async def story() -> None:
        # Given a reader of two batches
        events, reader = lab.event_log(), lab.event_source()
        for batch in (b"one", b"two"):
            await events.append(batch)
        assert len(reader.read()) == 2
        # When others are added, and all before them are trimmed, or the whole stream is removed
        await events.append(b"three")
        lab.server.xtrim(lab.keys.events, maxlen=1, approximate=False)
        assert not reader.is_older()
        lab.server.delete(lab.keys.events)
        # Then nothing shows that the server came back older
        assert not reader.is_older()

    lab.play(story)
