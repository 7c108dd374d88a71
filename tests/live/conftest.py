"""A cluster under test, on a server of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.streams.embedded import EmbeddedServer
from tests.live.cluster import Cluster
from tests.support.live_place import Place


@pytest.fixture
def cluster(place: Place) -> Iterator[Cluster]:
    with EmbeddedServer() as server:
        cluster = Cluster(place, server)
        yield cluster
        cluster.client.close()
        for process in place.started:
            if process.poll() is None:
                process.kill()
                process.wait()
