"""What an observer reads of a run that goes on: all that comes, each once, and nothing is changed by reading."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import Unavailable
from broker.ports.robot import Death
from broker.streams.embedded import EmbeddedServer
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.tail import RunTail
from tests.broker.streams.relay_lab import Shard, planned
from tests.support.port_labs import StreamsLab


@pytest.mark.live
def test_a_tail_gives_all_that_comes_once_and_changes_nothing(server: EmbeddedServer) -> None:
    # Given a run with a plan, an envelope, its fate and a death
    shard = Shard(server.url, "loss 1")
    tail = RunTail(shard.client, shard.run, 1)
    shard.send(1)
    shard.control(planned("loss 1", "delay 5ms"))
    evidence = shard.drain()
    StreamFleetLog(shard.client, shard.run).death("r00", "r00", 1, "signal", -9)
    shard.client.xadd(shard.keys.events, dict[Any, Any]({"events": b"batch", "more": b""}))
    before = {key: shard.client.dump(key) for key in shard.client.keys(f"*{shard.run}*")}
    # When it is read
    news = tail.read()
    # Then all is there, a fate's plan included,
    assert [control for _, _, control in news.controls] == [control for _, control in evidence.controls[0]]
    assert [stored for _, stored in news.fates] == evidence.fates[0]
    assert [fate.state for _, stored in news.fates for fate in stored.fates] == ["lost"]
    assert [(row.victim, row.status) for row in news.fleet if isinstance(row, Death)] == [("r00", -9)]
    assert news.events[-1] == b"batch"
    assert [order.order for order in news.orders] == ["dealt"]
    assert not news.has_more
    assert not news.is_gone
    # and not a second time,
    again = tail.read()
    assert (again.events, again.fates, again.controls, again.fleet, again.orders) == ([], [], [], [], [])
    # and the streams are as they were
    assert before == {key: shard.client.dump(key) for key in shard.client.keys(f"*{shard.run}*")}
    shard.client.close()


@pytest.mark.live
def test_a_tail_gives_a_long_stream_in_pages_and_knows_when_the_run_is_gone(server: EmbeddedServer) -> None:
    # Given a run with more batches of events than are read at once
    lab = StreamsLab(server.url, "r00")
    tail = RunTail(lab.server, lab.run, 2)
    batches = [b"%d" % number for number in range(600)]
    for batch in batches:
        lab.server.xadd(lab.keys.events, dict[Any, Any]({"events": batch}))
    # When it is read to the end
    pages = [tail.read()]
    while pages[-1].has_more:
        pages.append(tail.read())
    # Then every batch came once, in order
    assert [batch for page in pages for batch in page.events] == batches
    assert len(pages) == 3
    # And a run that is removed is gone
    lab.run_control.forget()
    assert tail.read().is_gone
    lab.server.close()


@pytest.mark.live
def test_a_tail_that_could_not_be_read_goes_on_where_it_was(server: EmbeddedServer) -> None:
    lab = StreamsLab(server.url, "r00")
    tail = RunTail(lab.server, lab.run, 2)
    assert tail.read().orders
    # When what stands there is no stream, for a while
    lab.server.rename(lab.keys.events, "kept")
    lab.server.set(lab.keys.events, "garbage")
    with pytest.raises(Unavailable):
        tail.read()
    lab.server.delete(lab.keys.events)
    lab.server.rename("kept", lab.keys.events)
    lab.server.xadd(lab.keys.events, dict[Any, Any]({"events": b"batch"}))
    # Then nothing was lost
    assert tail.read().events == [b"batch"]
    lab.server.close()
