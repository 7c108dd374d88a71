"""Lint, format and types are tests like any other: one command tells whether the house is in order."""

import subprocess
import sys

import pytest

from tests.support.checkout import ROOT


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=["lint", "format", "types"]
)
def test_the_house_is_in_order(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
