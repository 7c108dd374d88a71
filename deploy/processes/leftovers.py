"""What processes that were killed have left on this host: folders of servers and of spilled events, in the temporary
folder. Only folders of this user that no process uses are found; records are not known here.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from broker.streams.embedded import FOLDER_PREFIX, LOG, SOCKET, places

FRESH_S: Final = 60.0
"""A folder that was changed since is left alone: its process may just begin."""

_SPILL: Final = re.compile(r"robots\.[A-Za-z0-9_-]+")  # telemetry/stream/spill.py


def dead_folders() -> list[Path]:
    """The folders of servers and runs of this user that are dead."""
    found: dict[Path, None] = {}
    for place in dict.fromkeys(Path(place).resolve() for place in places()):
        for path in sorted(_folders_of_mine(place)):
            if _is_dead(path):
                found[path] = None
    return list(found)


def remove_folder(path: Path) -> bool:
    """Whether the folder is gone now."""
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def newest_change_s(path: Path) -> float:
    """When a folder, or anything directly in it, was last changed, in seconds since 1970. Raises OSError."""
    return max(each.lstat().st_mtime for each in (path, *path.iterdir()))


def _folders_of_mine(place: Path) -> Iterator[Path]:
    try:
        entries = list(place.iterdir())
    except OSError:
        return
    for path in entries:
        if not path.name.startswith("robots"):
            continue
        try:
            status = path.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
            yield path


def _is_dead(path: Path) -> bool:
    try:
        if time.time() - newest_change_s(path) < FRESH_S:
            return False
        if path.name.startswith(FOLDER_PREFIX):
            return _is_server_folder(path) and not _listens(path / SOCKET)
        return _SPILL.fullmatch(path.name) is not None and not _is_locked(path)
    except OSError:
        return False


def _is_server_folder(path: Path) -> bool:
    """Whether a server of ours began there: other programs may use such a name."""
    return (path / LOG).is_file()


def _listens(path: Path) -> bool:
    """Whether a process has the socket. One that is stopped has it, too."""
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # busy: it is there
            return True
        return True


def _is_locked(path: Path) -> bool:
    """Whether any process of the run holds the folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
