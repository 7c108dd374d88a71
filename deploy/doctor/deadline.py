"""Work that may hang (a name server, a network folder), done side by side and waited for no longer than a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, jobs: Mapping[str, Callable[[], T]]) -> dict[str, T | Exception]:
    """The results of the `jobs` that ended in time, or what they raised. One that did not is left behind: its thread
    ends with the process."""
    done: SimpleQueue[tuple[str, T | Exception]] = SimpleQueue()
    for name, job in jobs.items():
        threading.Thread(target=_do, args=(name, job, done), name=name, daemon=True).start()
    results: dict[str, T | Exception] = {}
    deadline = time.monotonic() + seconds
    while len(results) < len(jobs):
        try:
            name, result = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        results[name] = result
    return results


def _do(name: str, job: Callable[[], T], done: SimpleQueue[tuple[str, T | Exception]]) -> None:
    try:
        done.put((name, job()))
    except Exception as error:
        done.put((name, error))
