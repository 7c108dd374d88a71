"""How runs and robots are named, and which outbox a robot writes to: fixed at the deal, the same for every process."""

from __future__ import annotations

import re
from typing import Final

MAX_NAME: Final = 16  # characters of a robot's or a run's name

_RUN: Final = re.compile(f"[A-Za-z0-9_-]{{1,{MAX_NAME}}}")


def robot_name(number: int, robots: int) -> str:
    """The name of a run's `number`-th robot (from 0) when `robots` were dealt: `r00` … `r99`, `r000` … `r999`."""
    width = max(2, len(str(robots - 1)))
    return f"r{number:0{width}d}"


def is_robot(name: str) -> bool:
    """Whether a name from the network could be a robot's: `r` and digits, at most 16 characters."""
    return len(name) <= MAX_NAME and name[:1] == "r" and name[1:].isascii() and name[1:].isdigit()


def is_run(name: str) -> bool:
    """Whether a name from the network could be a run's: ASCII letters, digits, `-` and `_`, at most 16 characters."""
    return _RUN.fullmatch(name) is not None


def shard_of(robot: str, shards: int) -> int:
    """The shard whose outbox `robot` writes to: its number modulo the number of shards."""
    return int(robot[1:]) % shards
