"""Children under test, and their log."""

from __future__ import annotations

import gc

import pytest

from deploy.processes.children import Children


@pytest.fixture
def fleet():
    fleet = Children()
    yield fleet
    fleet.end_all(0)
    gc.unfreeze()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "child.log"
