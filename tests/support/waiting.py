"""Waiting for facts about real processes: poll with a deadline, never sleep and hope. No tests here."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")


DEADLINE_S: Final = 45
"""The longest wait for what a busy machine does late, and an idle one at once; less than the time of a whole test."""


def await_true(condition: Callable[[], T], seconds: float = DEADLINE_S, what: str = "it") -> T:
    """Poll until `condition()` is true, and give its value. Other `seconds` state that it must
    come so soon on any machine."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
    return value


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def measuring_lateness() -> Iterator[list[float]]:
    """By how many seconds a thread of this process wakes up late, again and again while the block lasts."""
    late_s: list[float] = []
    is_over = threading.Event()

    def measure() -> None:
        while not is_over.is_set():
            due_s = time.monotonic() + 0.01
            time.sleep(0.01)
            late_s.append(time.monotonic() - due_s)

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield late_s
    finally:
        is_over.set()
        thread.join()
