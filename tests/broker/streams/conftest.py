"""Proxies that lose replies, relays in processes of their own, and the shards that they relay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.streams.embedded import EmbeddedServer
from tests.broker.streams.relay_lab import RelayGroup, Shard
from tests.support.cutting_proxy import CuttingProxy
from tests.support.port_labs import run_numbers


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(server.folder / "redis.sock", server.folder / f"proxy{next(run_numbers)}.sock")
    yield proxy
    proxy.close()


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[RelayGroup]:
    processes = RelayGroup(tmp_path)
    yield processes
    processes.end()


@pytest.fixture
def make_shard(server: EmbeddedServer) -> Iterator[Callable[..., Shard]]:
    shards: list[Shard] = []

    def make(*faults: str, **rest: Any) -> Shard:
        shards.append(Shard(server.url, *faults, **rest))
        return shards[-1]

    yield make
    for shard in shards:
        shard.client.close()
