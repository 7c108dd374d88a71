"""Whether a shard has a relay, as the supervisor of the run sees it. A real server; the test sets the time."""

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from deploy.supervisor.leadership import RelayMonitor
from telemetry.events import RelayMissing


def test_a_shard_without_a_relay_is_reported_once_until_a_relay_comes(server: EmbeddedServer) -> None:
    # Given two shards, of which one has a relay
    reported: list[object] = []
    with connect(server.url) as client:
        names = Keys("watched")
        client.set(names.lease(0), "holder")
        watch = RelayMonitor(client, "watched", 2, reported.append)
        # When no relay takes the other for three seconds / Then that is reported, once
        for second in range(3):
            watch.poll(second)
        assert reported == []
        for second in range(3, 9):
            watch.poll(second)
        assert reported == [RelayMissing(1)]
        # and once more when a relay came and went
        client.set(names.lease(1), "holder")
        watch.poll(9)
        client.delete(names.lease(1))
        for second in range(10, 15):
            watch.poll(second)
        assert reported == [RelayMissing(1), RelayMissing(1)]
        # A time in which the monitor did not poll proves nothing
        client.set(names.lease(1), "holder")
        watch.poll(15)
        client.delete(names.lease(1))
        watch.poll(60)
        assert len(reported) == 2
