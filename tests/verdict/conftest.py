"""The honest records that tests of the verdict alter."""

from __future__ import annotations

import pytest

from tests.verdict.growing_record import grown
from tests.verdict.honest_record import after_a_minute, honest
from tests.verdict.scribe import Files


@pytest.fixture
def longer_files() -> Files:
    """The files of an honest record of a run that went on for a minute after all was done."""
    return after_a_minute()


@pytest.fixture
def grown_files() -> Files:
    """The files of an honest record of a run that a robot joined."""
    return grown()


@pytest.fixture
def files() -> Files:
    """The files of an honest record."""
    return honest()[0]
