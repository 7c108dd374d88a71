"""Hands on a live run's processes, for its chaos (robots/chaos.py): signals to the parent's children and their horses,
and what can be done to a robot through the server. When to do what, and to whom, is decided elsewhere.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from broker.shards import is_robot
from broker.streams.hands import StreamHands
from deploy.fleet import Fleet
from robots.contradiction import contradiction
from robots.deal import Deal


class LiveVictims:
    """`robots.chaos.Victims` for the children of this process.

    `worker_of` tells which child (by its name in the fleet) runs a robot now; None when none does.
    """

    def __init__(
        self, run: str, deal: Deal, fleet: Fleet, hands: StreamHands, worker_of: Callable[[str], str | None]
    ) -> None:
        self._run = run
        self._deal = deal
        self._fleet = fleet
        self._hands = hands
        self._worker_of = worker_of
        self._lies: Counter[str] = Counter()
        self._paused: dict[str, str] = {}  # RQ workers by the name under which they were struck, whomever they run now

    @property
    def living(self) -> list[str]:
        """The robots that some horse runs now, and the children that are no RQ workers."""
        robots = [robot for robot in self._deal.robots if self._horse_of(robot) is not None]
        return robots + [name for name in self._fleet.living if not name.startswith("rq:")]

    def kill(self, name: str) -> bool:
        return self._send(name, signal.SIGKILL)

    def pause(self, name: str) -> bool:
        child = self._child_of(name)
        if child is not None:
            self._paused[name] = child
        return self._send(name, signal.SIGSTOP)

    def resume(self, name: str) -> bool:
        """A paused RQ worker may have lost its robot since: it is who was paused that goes on."""
        child = self._paused.pop(name, None)
        return self._send(name, signal.SIGCONT) if child is None else self._signal(child, signal.SIGCONT)

    def restart(self, name: str) -> bool:
        """SIGTERM to a robot's own process ends its life in order, and its job is queued again; to its RQ worker, that
        one too, and it is replaced."""
        return self._send(name, signal.SIGTERM)

    def crash(self, robot: str, worker: str) -> bool:
        """Raises Unavailable when the robot could not be told."""
        self._hands.order_crash(f"{robot}/{worker}")
        return True

    def contradict(self, robot: str) -> bool:
        """Raises Unavailable when it is not known whether the lie was told."""
        lie = contradiction(self._run, self._deal, robot, self._lies[robot] + 1)
        if lie is None:
            return False
        self._lies[robot] += 1
        return self._hands.slip(robot, lie)

    def amnesia(self, robot: str) -> bool:
        """Raises Unavailable when it is not known whether the journal is gone."""
        if not self.kill(robot):
            return False
        self._hands.forget_journal(robot)
        return True

    def _send(self, name: str, number: int) -> bool:
        if is_robot(name):
            horse = self._horse_of(name)
            return horse is not None and _send_to(horse, number)
        child = self._child_of(name)
        return child is not None and self._signal(child, number)

    def _signal(self, child: str, number: int) -> bool:
        if child not in self._fleet.living:
            return False
        self._fleet.signal(child, number)
        return True

    def _child_of(self, name: str) -> str | None:
        """Which child bears a name now; no robot is one."""
        if name.startswith("rq:"):
            return self._worker_of(name.removeprefix("rq:"))
        return None if is_robot(name) else name

    def _horse_of(self, robot: str) -> int | None:
        """The process that is the robot: the only child of its RQ worker."""
        worker = self._fleet.living.get(self._worker_of(robot) or "")
        if worker is None:
            return None
        with suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
            return int(children[0]) if children else None
        return None


def _send_to(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
