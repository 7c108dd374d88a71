"""The labs in which the contracts of the ports are tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest
from redis.exceptions import ResponseError

from broker.streams.embedded import EmbeddedServer
from broker.streams.robot import register
from tests.broker.ports.fakeredis_lab import UNFAITHFUL, FakeredisLab
from tests.support.port_labs import MakeLab, MemoryLab, StreamsLab
from tests.support.server_programs import VERSIONS, path_to, program_of

CLUSTER = "redis_cluster"


@pytest.fixture(scope="session")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], EmbeddedServer]]:
    """Starts a server of a version; one for all tests of a process that ask for it."""
    with ExitStack() as running:

        @cache
        def start(version: str) -> EmbeddedServer:
            path = path_to(program_of(version), tmp_path_factory.mktemp("path"))
            with pytest.MonkeyPatch.context() as patched:
                patched.setenv("PATH", path)
                return running.enter_context(EmbeddedServer())

        yield start


SERVERS = [pytest.param(name, marks=pytest.mark.live) for name in (*VERSIONS, CLUSTER)]


@pytest.fixture(params=["memory", "fakeredis", *SERVERS])
def make_lab(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MakeLab:
    if request.param == "memory":
        return MemoryLab
    if request.param in (*VERSIONS, CLUSTER):
        name = request.param
        server = request.getfixturevalue(CLUSTER) if name == CLUSTER else request.getfixturevalue("server_of")(name)
        url = server.url
        return lambda *robots, **options: StreamsLab(url, *robots, **options)
    if reason := UNFAITHFUL.get(request.function.__name__):
        refused = pytest.mark.xfail(raises=ResponseError, reason=f"fakeredis: {reason}", strict=True)
        request.applymarker(refused)

    def make_fakeredis_lab(*robots: str, **options: Any) -> FakeredisLab:
        lab = FakeredisLab(*robots, **options)
        monkeypatch.setattr(register, "async_twin", lab.twin)
        return lab

    return make_fakeredis_lab
