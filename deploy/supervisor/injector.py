"""Hands on a live run's processes, for its chaos (robots/run/chaos.py): signals to the parent's children and their
horses; to an RQ worker that is none of them a word, which it obeys within a second; and what can be done to a robot
through the server. When to do what, and to whom, is decided elsewhere.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from broker.envelope import is_robot
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.injection import StreamInjection, send_command
from deploy.attach.context import RunContext
from robots.journal import PartKept, readable
from robots.run.chaos import contradictory_update
from robots.secret import Part

SUPERVISOR: Final = "supervisor"
_WORDS: Final = {signal.SIGKILL: "kill", signal.SIGSTOP: "pause", signal.SIGCONT: "resume", signal.SIGTERM: "restart"}
_SIGNALS: Final = {word: number for number, word in _WORDS.items()} | {"amnesia": signal.SIGKILL}
_REMOTE: Final = ("kill", "restart")  # by an RQ worker that is itself the victim; a paused one could not hear its end


class Children(Protocol):
    """The processes at hand: those that this process started itself."""

    @property
    def living(self) -> Mapping[str, int]:
        """The pid of each child, by name."""
        ...

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a child."""
        ...

    def worker_of(self, robot: str) -> str | None:
        """The child that runs a robot now; None when none does."""
        ...


class NoChildren:
    """Nobody is at hand."""

    living: Mapping[str, int] = {}

    def signal(self, name: str, number: int) -> None:  # noqa: ARG002
        """There is nobody. Raises KeyError."""
        raise KeyError(name)

    def worker_of(self, robot: str) -> str | None:  # noqa: ARG002
        """None does."""
        return None


class LiveInjector:
    """`robots.chaos.Injector` for the children of this process, and for whoever runs the other robots.

    `is_mortal`: this process is the supervisor, and another one may follow it.
    """

    def __init__(self, context: RunContext, children: Children, is_mortal: bool = False) -> None:
        self._client = context.client
        self._run = context.run
        self._job_table = context.job_table
        self._children = children
        self._is_mortal = is_mortal
        self._injection = StreamInjection(self._client, self._run)
        self._evidence = StreamEvidenceReader(self._client, self._run, retry_s=0)
        self._paused: dict[str, str] = {}  # RQ workers by the name under which they were struck, whomever they run now
        self._verbs: dict[str, Callable[[str], bool]] = {
            "kill": self.kill,
            "pause": self.pause,
            "resume": self.resume,
            "restart": self.restart,
            "crash": self.crash,
            "contradict": self.contradict,
            "amnesia": self.amnesia,
        }

    @property
    def living(self) -> list[str]:
        """The robots that some horse runs now, and the children that are no RQ workers."""
        robots = [
            robot for robot in self._job_table.robots if self._horse_of(robot) is not None or self._is_afar(robot)
        ]
        return robots + [name for name in self._children.living if not name.startswith("rq:")]

    def can(self, fault: str, name: str) -> bool:
        """Raises Unavailable when it is not known what the robot was dealt. `crash` can be ordered of any."""
        if fault == "contradict":
            return self._dealt_part_of(name) is not None
        return fault == "crash" or self._way_to(name, _SIGNALS[fault]) is not None

    def inject(self, verb: str, victim: str) -> bool:
        """Raises Unavailable when it is not known whether it was done."""
        return self._verbs[verb](victim)

    def kill(self, name: str) -> bool:
        """Raises Unavailable when it is not known whether another host was told."""
        return self._send(name, signal.SIGKILL)

    def pause(self, name: str) -> bool:
        """Likewise."""
        child = self._child_of(name)
        if child is not None:
            self._paused[name] = child
        return self._send(name, signal.SIGSTOP)

    def resume(self, name: str) -> bool:
        """Likewise. A paused RQ worker may have lost its robot since: it is who was paused that goes on."""
        child, number = self._paused.pop(name, None), signal.SIGCONT
        return _go(self._way_to(name, number) if child is None else self._way_to_child(child, number))

    def restart(self, name: str) -> bool:
        """Likewise. SIGTERM to a robot's own process ends its life in order, and its job is queued again; to its RQ
        worker, that one too, and it is replaced."""
        return self._send(name, signal.SIGTERM)

    def crash(self, victim: str) -> bool:
        """Raises Unavailable when the robot could not be told."""
        self._injection.order_crash(victim)
        return True

    def contradict(self, robot: str) -> bool:
        """Raises Unavailable when it is not known whether the lie was told."""
        part = self._dealt_part_of(robot)
        if part is None:
            return False
        sender = next(name for name in self._job_table.robots if name != robot)
        number = secrets.randbits(31)  # whoever supervised before has told some too
        return self._injection.slip(robot, contradictory_update(self._run, part, robot, sender, number))

    def amnesia(self, robot: str) -> bool:
        """Raises Unavailable when it is not known whether the journal is gone."""
        if not self.kill(robot):
            return False
        self._injection.forget_journal(robot)
        return True

    def _send(self, name: str, number: signal.Signals) -> bool:
        return _go(self._way_to(name, number))

    def _way_to(self, name: str, number: signal.Signals) -> Callable[[], bool] | None:
        """How the signal gets to whom the name means now; None when there is nobody, or it does not reach him."""
        if name == SUPERVISOR:
            return partial(_send_to, os.getpid(), number) if self._is_mortal and number == signal.SIGKILL else None
        robot = name.removeprefix("rq:")
        if not is_robot(robot):
            return self._way_to_child(name, number)
        child, horse = self._children.worker_of(robot), self._horse_of(robot)
        if name == robot and horse is not None:
            return partial(_send_to, horse, number)
        if name != robot and child is not None:
            return self._way_to_child(child, number)
        word = _WORDS[number]
        is_obeyed = self._is_afar(robot) and (name == robot or word in _REMOTE)
        return partial(self._ask_afar, robot, f"{word} {name}") if is_obeyed else None

    def _way_to_child(self, child: str, number: signal.Signals) -> Callable[[], bool] | None:
        return partial(self._send_to_child, child, number) if child in self._children.living else None

    def _send_to_child(self, child: str, number: signal.Signals) -> bool:
        self._children.signal(child, number)
        return True

    def _ask_afar(self, robot: str, injection: str) -> bool:
        """Ask the RQ worker that runs the robot and is none of our children."""
        send_command(self._client, self._run, robot, injection)
        return True

    def _is_afar(self, robot: str) -> bool:
        """Whether somebody who is not at hand runs the robot."""
        job = self._job_table.jobs.get(robot)
        return job is not None and job.is_held and self._children.worker_of(robot) is None

    def _child_of(self, name: str) -> str | None:
        """Which child bears a name now; no robot is one."""
        if name.startswith("rq:"):
            return self._children.worker_of(name.removeprefix("rq:"))
        return None if is_robot(name) else name

    def _horse_of(self, robot: str) -> int | None:
        """The process that is the robot: the only child of its RQ worker."""
        worker = self._children.living.get(self._children.worker_of(robot) or "")
        if worker is None:
            return None
        with suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
            return int(children[0]) if children else None
        return None

    def _dealt_part_of(self, robot: str) -> Part | None:
        entries = readable(row.content for row in self._evidence.journal(robot))
        dealt = (entry.part for entry in entries if isinstance(entry, PartKept) and entry.cause is None)
        return next(dealt, None)


def _go(way: Callable[[], bool] | None) -> bool:
    return way is not None and way()


def _send_to(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
