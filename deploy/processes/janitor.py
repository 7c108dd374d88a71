"""The janitor: a process that outlives a killed parent just long enough to end and remove what it left behind.

It is forked before all others, knows only pids, start times and paths, and acts only when its pipe ends without the
line `done`. It must never act while its parent lives, nor touch anything that was not registered on its pipe.

The kernel's parent-death signal ends most children first; the janitor is for those that did not get it, and for what
the kernel does not remove: sockets, folders, files. On its pipe, one a line:

    pid PID STARTTIME · forget PID · folder PATH · file PATH · done
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NoReturn

from broker.streams.embedded import places
from deploy.processes.forking import flush_streams, redirect_streams, release_signals, signals_held, start_time

REMOVABLE_FILE: Final = "live.json"
"""The only name of a file that is ever removed."""

_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_RETRY_S: Final = 5.0  # how long it waits for a killed process to be gone before it removes folders


class Janitor:
    """The parent's end of it."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self._pipe = pipe

    @classmethod
    def hire(cls) -> Janitor:
        """Fork one. To be called before any other child exists: a child that held the pipe open would hide our end."""
        read_end, write_end = os.pipe()
        flush_streams()
        with signals_held():
            pid = os.fork()
            if pid == 0:
                os.close(write_end)
                _be_janitor(read_end)
        os.close(read_end)
        return cls(pid, write_end)

    def watch(self, pid: int) -> None:
        """End this process if we are killed."""
        started = start_time(pid)
        if started is not None:
            self._send(f"pid {pid} {started}")

    def forget(self, pid: int) -> None:
        """Do not end this process any more."""
        self._send(f"forget {pid}")

    def folder(self, path: Path) -> None:
        """Remove this folder if we are killed. Raises ValueError unless it lies where servers have theirs."""
        if not _is_removable_folder(path):
            raise ValueError(f"{path} does not lie in {' or '.join(places())}")
        self._send(f"folder {path.absolute()}")

    def file(self, path: Path) -> None:
        """Remove this file if we are killed. Raises ValueError unless it is a `live.json`."""
        if path.name != REMOVABLE_FILE:
            raise ValueError(f"{path} is not named {REMOVABLE_FILE}")
        self._send(f"file {path.absolute()}")

    def dismiss(self) -> None:
        """End the janitor without any action: we end in order. Waits until it is gone."""
        self._send("done")
        self.let_go()
        os.waitpid(self.pid, 0)

    def let_go(self) -> None:
        """Close the pipe. For children of the parent: they send nothing on it."""
        os.close(self._pipe)

    def _send(self, line: str) -> None:
        if "\n" in line:
            raise ValueError("a path with a line break in it cannot be sent")
        with contextlib.suppress(BrokenPipeError):  # the janitor was killed; the work goes on without it
            os.write(self._pipe, os.fsencode(line) + b"\n")


def _be_janitor(read_end: int) -> NoReturn:
    try:
        os.setsid()
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        release_signals()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        redirect_streams(nowhere)
        with open(read_end, encoding="utf-8", errors="surrogateescape") as lines:
            _serve(lines)
    finally:
        os._exit(0)


def _serve(lines: Iterable[str]) -> None:
    """Read until the pipe ends; then clean up, unless `done` was the last line."""
    processes: dict[int, int] = {}
    paths: list[tuple[str, Path]] = []
    for line in lines:
        word, _, rest = line.removesuffix("\n").partition(" ")
        if word == "pid":
            pid, started = rest.split()
            processes[int(pid)] = int(started)
        elif word == "forget":
            processes.pop(int(rest), None)
        elif word in ("folder", "file"):
            paths.append((word, Path(rest)))
        elif word == "done":
            return
    _end(processes)
    for kind, path in paths:
        _remove(kind, path)


def _end(processes: dict[int, int]) -> None:
    """Kill those that still live, with the groups that they and their children lead, and see them gone."""
    gone = select.poll()
    open_ends = set()
    for pid, started in processes.items():
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            if start_time(pid) != started:  # another process bears that number now
                os.close(handle)
                continue
            gone.register(handle, select.POLLIN)
            open_ends.add(handle)
            for child in _children(pid):  # an RQ worker's horse leads a group of its own
                _kill_group(child)
            _kill_group(pid)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    while open_ends and (ended := gone.poll(_RETRY_S * 1000)):
        for handle, _ in ended:
            gone.unregister(handle)
            open_ends.discard(handle)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _kill_group(pid: int) -> None:
    """Kill the group of a process that leads it; never a group that it only belongs to, which might be a shell's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)


def _remove(kind: str, path: Path) -> None:
    if kind == "folder" and _is_removable_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    elif kind == "file" and path.name == REMOVABLE_FILE:
        path.unlink(missing_ok=True)


def _is_removable_folder(path: Path) -> bool:
    return not path.is_symlink() and any(Path(place).resolve() in path.resolve().parents for place in places())
