"""The version of the lab. Nothing else may name one, and nothing heavy may be imported here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """The installed version, or `0` when the lab runs from a bare checkout."""
    try:
        return installed("robots-lab")
    except PackageNotFoundError:
        return "0"
