"""The labs in which the contracts of the ports are tried."""

from __future__ import annotations

import pytest

from tests.support.port_labs import MakeLab, MemoryLab, StreamsLab


@pytest.fixture(params=["memory", pytest.param("streams", marks=pytest.mark.live)])
def make_lab(request: pytest.FixtureRequest) -> MakeLab:
    if request.param == "memory":
        return MemoryLab
    url = request.getfixturevalue("server").url
    return lambda *robots, **options: StreamsLab(url, *robots, **options)
