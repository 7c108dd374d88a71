"""Tests of the lab, room by room as the code is laid out; what several rooms share is in support/."""

import os
import sys

import pytest

# Their helpers assert too, and a failure should tell as much as that of a test.
pytest.register_assert_rewrite(
    "tests.support", "tests.verdict", "tests.broker", "tests.robots", "tests.deploy", "tests.live"
)

# Tests start hundreds of processes. Without bytecode, each of them would compile the whole lab again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
