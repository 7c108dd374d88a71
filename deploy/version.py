"""Which version of the lab this is. Nothing else may tell a version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """The installed version, or `0` when the lab runs from a bare checkout."""
    try:
        return installed("robots-lab")
    except PackageNotFoundError:
        return "0"
