"""The run that `robots faults` asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.streams.embedded import EmbeddedServer
from tests.deploy.commands.scheduled_run import Lab


@pytest.fixture
def lab(server: EmbeddedServer, here: Path) -> Iterator[Lab]:
    lab = Lab(server, here, shards=2)
    lab.start()
    yield lab
    lab.close()
