"""What this machine must be able to do, checked before anything is started."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from deploy.errors import EnvironmentFailure, UsageError


def demand_linux() -> None:
    """Live runs need Linux: they need pidfds and the parent-death signal. Raises EnvironmentFailure."""
    if not sys.platform.startswith("linux"):
        raise EnvironmentFailure(f"live runs are for Linux, this is {sys.platform}; simulate and verify work here")


def demand_records(runs: Path) -> None:
    """Records need a place: a folder can be made in `runs`, or in the first folder above it that exists. One is made
    and removed, because permissions alone do not show it. Raises UsageError."""
    place = runs.absolute()
    while not os.path.lexists(place):
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".robots-", dir=place):
            return
    except OSError as error:
        raise UsageError(
            f"--runs-dir: {runs}: {error.strerror or error}; a folder that can be written is allowed"
        ) from None


def demand_output(output: Path, force: bool) -> None:
    """A file may be written there, or, with `force`, replaced. Raises UsageError."""
    if output.is_dir():
        raise UsageError(f"--output: {output} is a folder; a file is allowed")
    if output.exists() and not force:
        raise UsageError(f"--output: {output} exists; --force allows to replace it")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output: there is no folder {output.absolute().parent}")
