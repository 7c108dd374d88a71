"""The labs in which the contracts of the ports are tried."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from broker.streams.robot import register
from tests.broker.ports.fakeredis_lab import UNFAITHFUL, FakeredisLab
from tests.support.port_labs import MakeLab, MemoryLab, StreamsLab

SERVERS = {"streams": "server", "cluster": "redis_cluster"}


@pytest.fixture(params=["memory", "fakeredis", *(pytest.param(name, marks=pytest.mark.live) for name in SERVERS)])
def make_lab(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MakeLab:
    if request.param == "memory":
        return MemoryLab
    if request.param in SERVERS:
        url = request.getfixturevalue(SERVERS[request.param]).url
        return lambda *robots, **options: StreamsLab(url, *robots, **options)
    if reason := UNFAITHFUL.get(request.function.__name__):
        refused = pytest.mark.xfail(raises=ResponseError, reason=f"fakeredis: {reason}", strict=True)
        request.applymarker(refused)

    def make_fakeredis_lab(*robots: str, **options: Any) -> FakeredisLab:
        lab = FakeredisLab(*robots, **options)
        monkeypatch.setattr(register, "async_twin", lab.twin)
        return lab

    return make_fakeredis_lab
