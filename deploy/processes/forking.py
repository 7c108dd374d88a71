"""What every forked process does at its beginning: signals, name, streams; and a process's start time. No process is
started here."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_HELD: Final = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextmanager
def signals_held() -> Iterator[None]:
    """Around a fork: SIGINT, SIGTERM and SIGHUP wait, so that a child never runs its parent's handlers.

    The child does not leave this block; it calls `release_signals` when its own handlers stand.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """Let the signals come that `signals_held` kept waiting."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def forget_handlers() -> None:
    """Drop the parent's signal handlers; only the parent handles Ctrl-C."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def name_process(name: str) -> None:
    """Show `name` (its first 15 bytes) where `ps` and `top` show commands."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def flush_streams() -> None:
    """Write out what is buffered: text that is still in a buffer at a fork would be written twice."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError):  # its reader is gone
                stream.flush()


def redirect_streams(output: int) -> None:
    """Read standard input from nowhere, and write standard output and error, line by line, to the descriptor."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nowhere)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  (they live as long as the process)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


def start_time(pid: int) -> int | None:
    """When the process started, in the kernel's ticks: with the pid it names a process for ever. None: no process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 22. The second field is the command's name, which may itself hold blanks and brackets.
    return int(stat[stat.rindex(b")") + 2 :].split()[19])
