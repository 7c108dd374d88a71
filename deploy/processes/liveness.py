"""The heartbeat of a long-running command, as a file whose age a health check reads: a container's, or systemd's.

A process that exists may still hang. Its heartbeat is written by the very loop that does its work and notices SIGTERM,
also while the server is away: an outage of the server is no reason to end a process. Nothing is written unless a
folder was named.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

BEAT_S: Final = 1.0
"""How often a loop beats at most. No loop does without for longer than 10 s while all is well."""

_file: Path | None = None  # a process has one heartbeat, as it has one process id
_beat_s = float("-inf")


def keep_heartbeat(folder: Path | None, name: str) -> None:
    """From now on this process, and no other, keeps the heartbeat `name` in `folder` (None: it keeps none), which is
    made if need be. Raises OSError."""
    global _file, _beat_s
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    _file, _beat_s = None if folder is None else folder / name, float("-inf")
    beat()


def beat() -> None:
    """Show that this process's loop runs. It is cheap, and does nothing in a process that keeps no heartbeat. A disk
    that is full ends no work: the heartbeat grows old, and that is what a health check is to find."""
    global _beat_s
    now_s = time.monotonic()
    if _file is None or now_s - _beat_s < BEAT_S:
        return
    _beat_s = now_s
    with suppress(OSError):
        _file.touch()


def forget_heartbeat(folder: Path | None, name: str) -> None:
    """Remove the heartbeat of a process that has ended and is not started again."""
    if folder is not None:
        with suppress(OSError):
            (folder / name).unlink()
