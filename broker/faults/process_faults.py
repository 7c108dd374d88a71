"""The faults that strike processes, as data: what is to be done, and to whom. Nothing here does anything.

How such a fault is written stands in its `text()`; how a text is read, in broker/faults/grammar.py; when each is
due, in broker/faults/schedule.py. Who plays them: robots/run/chaos.py. They never travel in outboxes, and no fate
depends on them.

How a fault of processes is written, without its time: the part of the grammar that names deeds and their victims.

Part of broker/faults/grammar.py, which reads the times, and through which alone this is used. Robots are meant by
number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Literal

import msgspec

from broker.faults.syntax import EVERYONE, Target, Token, Tokens, one_of

WORKERS: Final = (
    *("inbox_reader", "summary_processor", "secret_merger", "gossip_initiator"),
    *("quiescence_detector", "convergence_detector", "outbox_writer"),
)
"""The workers of a robot that may be crashed: what robots/robot.py calls them."""


class ProcessTarget(msgspec.Struct, frozen=True):
    """Who is meant: `r03` (a robot's own process), `rq:r03` (the RQ worker that runs it now), `relay:1`, `supervisor`
    or `redis`. Without a number, `robot` and `relay` are any one of them, drawn when the time comes."""

    kind: Literal["robot", "rq", "relay", "supervisor", "redis"]
    number: int | None = None

    @property
    def robot(self) -> int | None:
        """The number of the robot that is meant; None when none is named."""
        return self.number if self.kind in ("robot", "rq") else None

    @property
    def relay(self) -> int | None:
        """The number of the relay that is meant; None when none is named."""
        return self.number if self.kind == "relay" else None

    @property
    def is_any(self) -> bool:
        """Whether it has to be drawn."""
        return self.number is None and self.kind in ("robot", "relay")

    def text(self) -> str:
        if self.number is None:
            return self.kind
        if self.kind == "relay":
            return f"relay:{self.number}"
        return f"{'rq:' if self.kind == 'rq' else ''}r{self.number:02d}"


class _ProcessFault(msgspec.Struct, frozen=True):
    """What all faults of processes have in common, and share with those of messages."""

    name: ClassVar[str]
    is_noop: ClassVar[bool] = False
    process: ProcessTarget

    @property
    def target(self) -> Target:
        """The robot that is named, as a fault of messages would name it."""
        robot = self.process.robot
        return EVERYONE if robot is None else Target((((robot, robot),),))

    @property
    def target_text(self) -> str:
        """What it is to be done to, in the grammar's own words."""
        return self.process.text()

    def text(self) -> str:
        return f"{self.name} {self.target_text}"


class Kill(_ProcessFault, frozen=True):
    """SIGKILL: the process is gone between two instructions."""

    name: ClassVar[str] = "kill"


class Pause(_ProcessFault, frozen=True):
    """SIGSTOP, and SIGCONT when its time is over: the process does nothing, and does not notice."""

    name: ClassVar[str] = "pause"


class Resume(_ProcessFault, frozen=True):
    """SIGCONT before the time: whatever pauses of the process have begun are over. So is told how any pause ends."""

    name: ClassVar[str] = "resume"


class Restart(_ProcessFault, frozen=True):
    """A stop in order, and a new start: a robot (its next life goes on from its journal), an RQ worker, a relay, or
    the server (which keeps what it holds)."""

    name: ClassVar[str] = "restart"


class Crash(_ProcessFault, frozen=True):
    """One worker of a robot raises; its siblings run on."""

    name: ClassVar[str] = "crash"
    worker: str

    @property
    def target_text(self) -> str:
        return f"{self.process.text()}/{self.worker}"


class Contradict(_ProcessFault, frozen=True):
    """The robot is sent another word for a part that it was dealt, as if another robot had said so."""

    name: ClassVar[str] = "contradict"


class Amnesia(_ProcessFault, frozen=True):
    """The robot's journal is deleted, and its process killed."""

    name: ClassVar[str] = "amnesia"


ProcessFault = Kill | Pause | Resume | Restart | Crash | Contradict | Amnesia

DEEDS: Final = ("kill", "pause", "resume", "restart", "crash", "contradict", "amnesia")
"""Their names."""

_NUMBERED: Final = re.compile(r"(rq:r|relay:|r)([0-9]{1,7})")
_KINDS: Final[Mapping[str, Literal["robot", "rq", "relay"]]] = {"r": "robot", "rq:r": "rq", "relay:": "relay"}
_TARGET_HELP: Final = "a process such as r03, rq:r03, relay, relay:1, supervisor, redis or robot (any)"
_SUPERVISED_HELP: Final = "a process such as r03, rq:r03, relay, relay:1, redis or robot (any)"


def _kill(words: Tokens) -> ProcessFault:
    return Kill(_process(words.take()))


def _pause(words: Tokens) -> ProcessFault:
    return Pause(_supervised(words.take()))


def _resume(words: Tokens) -> ProcessFault:
    word = words.take()
    allowed = "a process that is paused, such as r03, rq:r03, relay:1 or redis"
    process = _supervised(word, allowed)
    if process.is_any:
        raise word.syntax_error(allowed)
    return Resume(process)


def _restart(words: Tokens) -> ProcessFault:
    return Restart(_supervised(words.take()))


def _crash(words: Tokens) -> ProcessFault:
    robot, worker = words.take().cut("/")
    process = _robot(robot, "a worker such as r03/secret_merger")
    if worker is None:
        raise robot.syntax_error(f"{robot.text}/ and a worker: {', '.join(WORKERS)}")
    if worker.text not in WORKERS:
        raise worker.syntax_error(one_of(WORKERS, worker.text))
    return Crash(process, worker.text)


def _contradict(words: Tokens) -> ProcessFault:
    return Contradict(_robot(words.take()))


def _amnesia(words: Tokens) -> ProcessFault:
    return Amnesia(_robot(words.take()))


PROCESS_FAULT_READERS: Final[dict[str, Callable[[Tokens], ProcessFault]]] = {
    "kill": _kill,
    "pause": _pause,
    "resume": _resume,
    "restart": _restart,
    "crash": _crash,
    "contradict": _contradict,
    "amnesia": _amnesia,
}


def _process(word: Token, allowed: str = _TARGET_HELP) -> ProcessTarget:
    match word.text:
        case "robot" | "relay" | "supervisor" | "redis" as kind:
            return ProcessTarget(kind)
    numbered = _NUMBERED.fullmatch(word.text)
    if numbered is None:
        raise word.syntax_error(allowed)
    return ProcessTarget(_KINDS[numbered[1]], int(numbered[2]))


def _supervised(word: Token, allowed: str = _SUPERVISED_HELP) -> ProcessTarget:
    """Anybody but the supervisor: whoever does the deed must be there to end it."""
    process = _process(word, allowed)
    if process.kind == "supervisor":
        raise word.syntax_error(allowed)
    return process


def _robot(word: Token, allowed: str = "a robot such as r03") -> ProcessTarget:
    process = _process(word, allowed)
    if process.kind != "robot" or process.number is None:
        raise word.syntax_error(allowed)
    return process
