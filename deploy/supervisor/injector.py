"""Injects process faults into a live run: by signals to this process's children and their horses, by commands to RQ
workers on other hosts (executed within a second), and through the server. What is injected, when, and into which
process is decided elsewhere (robots/run/chaos.py).
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from broker.envelope import is_robot
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.injection import StreamInjection, send_command
from deploy.attach.context import RunContext
from robots.journal import PartKept, readable
from robots.restart_budget import SERVER
from robots.run.chaos import contradictory_update
from robots.secret import Part

SUPERVISOR: Final = "supervisor"
_COMMANDS: Final = {
    signal.SIGKILL: "kill",
    signal.SIGSTOP: "pause",
    signal.SIGCONT: "resume",
    signal.SIGTERM: "restart",
}
_SIGNALS: Final = {verb: number for number, verb in _COMMANDS.items()} | {"amnesia": signal.SIGKILL}
_REMOTE: Final = ("kill", "restart")  # of an RQ worker; a paused one could not execute `resume`


class ChildProcesses(Protocol):
    """The processes that this process has started."""

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
    """No process was started here."""

    living: Mapping[str, int] = {}

    def signal(self, name: str, number: int) -> None:  # noqa: ARG002
        """Raises KeyError."""
        raise KeyError(name)

    def worker_of(self, robot: str) -> str | None:  # noqa: ARG002
        """Always None."""
        return None


class _Paused(NamedTuple):
    """A process that was paused: the child that it is (None: a robot's horse), and its pid then."""

    child: str | None
    pid: int | None


class LiveInjector:
    """`robots.run.chaos.Injector` for the children of this process, and for the RQ workers that run the other robots.
    In a cluster this process, the supervisor, may be killed, because another one can follow it."""

    def __init__(self, context: RunContext, children: ChildProcesses) -> None:
        self._client = context.server.data
        self._run = context.run
        self._job_table = context.job_table
        self._children = children
        self._is_mortal = context.info.lab == "cluster"
        self._injection = StreamInjection(self._client, self._run)
        self._evidence = StreamEvidenceReader(self._client, self._run, retry_s=0)
        self._paused: dict[str, _Paused] = {}  # by the victim's name when it was paused
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
        """The robots that a horse runs now, and the children that are no RQ workers."""
        robots = [
            robot for robot in self._job_table.robots if self._horse_of(robot) is not None or self._is_remote(robot)
        ]
        return robots + [name for name in self._children.living if not name.startswith("rq:")]

    @property
    def has_paused_server(self) -> bool:
        """Whether the run's own server is paused by us: no request is to be sent then, because it would wait."""
        paused = self._paused.get(SERVER)
        return paused is not None and paused.pid == self._pid_of(SERVER, paused.child)

    def can(self, fault: str, name: str) -> bool:
        """`crash` can be ordered for any robot. Raises Unavailable when it is not known what the robot was dealt."""
        if fault == "contradict":
            return self._dealt_part_of(name) is not None
        return fault == "crash" or self._injection_of(name, _SIGNALS[fault]) is not None

    def inject(self, verb: str, victim: str) -> bool:
        """Raises Unavailable when it is not known whether it was done."""
        return self._verbs[verb](victim)

    def kill(self, name: str) -> bool:
        """Raises Unavailable when it is not known whether a command to another host was stored."""
        return self._send(name, signal.SIGKILL)

    def pause(self, name: str) -> bool:
        """Likewise."""
        child = self._child_of(name)
        self._paused[name] = _Paused(child, self._pid_of(name, child))
        return self._send(name, signal.SIGSTOP)

    def resume(self, name: str) -> bool:
        """Likewise. A paused RQ worker may run another robot since: the one that was paused is resumed. False when the
        process that was paused is gone: another one in its place was never paused."""
        paused, number = self._paused.pop(name, None), signal.SIGCONT
        if paused is None:  # by an earlier leader
            return self._send(name, number)
        if paused.pid != self._pid_of(name, paused.child):
            return False
        return _inject(
            self._injection_of(name, number) if paused.child is None else self._injection_of_child(paused.child, number)
        )

    def restart(self, name: str) -> bool:
        """Likewise. SIGTERM to a robot's own process ends its life in order, and its job is queued again; SIGTERM to
        its RQ worker ends that one, too, and it is replaced."""
        return self._send(name, signal.SIGTERM)

    def crash(self, victim: str) -> bool:
        """Raises Unavailable when the order may not be stored."""
        self._injection.order_crash(victim)
        return True

    def contradict(self, robot: str) -> bool:
        """Raises Unavailable when it is not known whether the update was stored."""
        part = self._dealt_part_of(robot)
        if part is None:
            return False
        sender = next(name for name in self._job_table.robots if name != robot)
        number = secrets.randbits(31)  # earlier leaders have sent some, too
        return self._injection.insert_copy(robot, contradictory_update(self._run, part, robot, sender, number))

    def amnesia(self, robot: str) -> bool:
        """Raises Unavailable when it is not known whether the journal is gone."""
        if not self.kill(robot):
            return False
        self._injection.forget_journal(robot)
        return True

    def _send(self, name: str, number: signal.Signals) -> bool:
        return _inject(self._injection_of(name, number))

    def _injection_of(self, name: str, number: signal.Signals) -> Callable[[], bool] | None:
        """What sends the signal to the process that the name means now; None when there is none, or no way to it."""
        if name == SUPERVISOR:
            return partial(_send_to, os.getpid(), number) if self._is_mortal and number == signal.SIGKILL else None
        robot = name.removeprefix("rq:")
        if not is_robot(robot):
            return self._injection_of_child(name, number)
        child, horse = self._children.worker_of(robot), self._horse_of(robot)
        if name == robot and horse is not None:
            return partial(_send_to, horse, number)
        if name != robot and child is not None:
            return self._injection_of_child(child, number)
        verb = _COMMANDS[number]
        is_possible = self._is_remote(robot) and (name == robot or verb in _REMOTE)
        return partial(self._send_command, robot, f"{verb} {name}") if is_possible else None

    def _injection_of_child(self, child: str, number: signal.Signals) -> Callable[[], bool] | None:
        return partial(self._send_to_child, child, number) if child in self._children.living else None

    def _send_to_child(self, child: str, number: signal.Signals) -> bool:
        self._children.signal(child, number)
        return True

    def _send_command(self, robot: str, command: str) -> bool:
        """To the RQ worker that runs the robot on another host."""
        send_command(self._client, self._run, robot, command)
        return True

    def _is_remote(self, robot: str) -> bool:
        """Whether an RQ worker that is none of our children runs the robot."""
        return bool(self._job_table.worker_of(robot)) and self._children.worker_of(robot) is None

    def _child_of(self, name: str) -> str | None:
        """The child that a name means now; None for a robot."""
        if name.startswith("rq:"):
            return self._children.worker_of(name.removeprefix("rq:"))
        return None if is_robot(name) else name

    def _pid_of(self, name: str, child: str | None) -> int | None:
        """The process that the name means now; `child`: it is that one of our children."""
        if child is not None:
            return self._children.living.get(child)
        job = self._job_table.jobs.get(name)
        return self._horse_of(name) or (job.pid if job is not None else None)

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


def _inject(injection: Callable[[], bool] | None) -> bool:
    return injection is not None and injection()


def _send_to(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
