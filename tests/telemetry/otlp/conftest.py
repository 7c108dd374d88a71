"""A collector for a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.collector import Sink, collecting


@pytest.fixture
def sink() -> Iterator[Sink]:
    yield from collecting(Sink())
