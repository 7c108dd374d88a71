"""A cluster under test, on a server of its own, or on a master that Sentinels watch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.streams.embedded import EmbeddedServer
from tests.live.cluster import Cluster
from tests.support.live_place import Place
from tests.support.pseudo_terminal import Open
from tests.support.redis_nodes import Sentinels


@pytest.fixture
def open_terminal(place: Place) -> Iterator[Open]:
    opened = Open(place)
    yield opened
    opened.close()


@pytest.fixture
def cluster(place: Place) -> Iterator[Cluster]:
    with EmbeddedServer() as server:
        cluster = Cluster(place, server)
        yield cluster
        end(cluster)


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    with Sentinels(tmp_path) as sentinels:
        yield sentinels


@pytest.fixture
def on_sentinels(place: Place, sentinels: Sentinels) -> Iterator[Cluster]:
    cluster = Cluster(place, sentinels)
    yield cluster
    end(cluster)


def end(cluster: Cluster) -> None:
    """Kill what a test has left, before its server ends."""
    cluster.client.close()
    for process in cluster.place.started:
        if process.poll() is None:
            process.kill()
            process.wait()
