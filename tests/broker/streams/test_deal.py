"""A deal that is made again after a lost reply adds nothing."""

import sys

import pytest

from broker.faults.shaping_faults import Loss
from broker.ports.run import RunSpec
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from tests.support.plan_change import plan_change

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux"),
]


def test_dealing_again_after_a_lost_reply_adds_nothing() -> None:
    with EmbeddedServer() as server, connect(server.url) as client:
        # Given a deal that was cut short before its last step
        run_spec = RunSpec("t", 2, plan_change(Loss(0.5)), {"r00": [b"header"], "r01": [b"header"]}, b"terms")
        StreamRunControl(client, "t").deal(run_spec)
        client.delete(Keys("t").orders)

        # When it is made again
        StreamRunControl(client, "t").deal(run_spec)

        # Then each stream is as long as it was, and the plan stands in each outbox once
        assert [client.xlen(Keys("t").outbox(shard)) for shard in (0, 1)] == [1, 1]
        assert [client.xlen(Keys("t").journal(robot)) for robot in ("r00", "r01")] == [1, 1]
        assert client.xlen(Keys("t").orders) == 1
