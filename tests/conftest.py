"""Fixtures that several files of tests share."""

from collections.abc import Iterator

import pytest
from live_place import place

from broker.streams.embedded import EmbeddedServer

__all__ = ["place"]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A private server, one for all tests of a file."""
    with EmbeddedServer() as embedded:
        yield embedded
