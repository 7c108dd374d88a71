"""The laboratory of RQ workers that tests of several rooms use."""

from __future__ import annotations

import pytest

from broker.streams.embedded import EmbeddedServer
from tests.support.rq_lab import Lab


@pytest.fixture
def lab(tmp_path, monkeypatch):
    with EmbeddedServer() as server, Lab(server, tmp_path, monkeypatch) as lab:
        yield lab
