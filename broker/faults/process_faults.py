"""The faults of processes, as data: what is injected, and into which process. Nothing here does anything.

Each knows its text and how that is read, without its times, which broker/faults/grammar.py reads; when each is due,
broker/faults/schedule.py says. robots/run/chaos.py plays them. They never travel in outboxes, and no fate depends on
them. Robots are named by number. A new fault is a class here, a place in the union, and a row of PROCESS_FAULTS; what
it does to a process is a verb of the injectors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final, Literal

import msgspec

from broker.faults.syntax import FaultKind, Timeless, Token, Tokens, one_of
from broker.faults.target import EVERYONE, Target

WORKERS: Final = (
    *("inbox_reader", "summary_processor", "secret_merger", "gossip_initiator"),
    *("quiescence_detector", "convergence_detector", "outbox_writer"),
)
"""The workers of a robot that may be crashed: what robots/robot.py calls them."""


_NUMBERED: Final = re.compile(r"(rq:r|relay:|r)([0-9]{1,7})")
_KINDS: Final[Mapping[str, Literal["robot", "rq", "relay"]]] = {"r": "robot", "rq:r": "rq", "relay:": "relay"}
_TARGET_HELP: Final = "a process such as r03, rq:r03, relay, relay:1, supervisor, redis or robot (any)"
_SUPERVISED_HELP: Final = "a process such as r03, rq:r03, relay, relay:1, redis or robot (any)"
_PAUSED_HELP: Final = "a process that is paused, such as r03, rq:r03, relay:1 or redis"


class ProcessTarget(msgspec.Struct, frozen=True):
    """The process that is meant: `r03` (a robot's own), `rq:r03` (the RQ worker that runs it now), `relay:1`,
    `supervisor` or `redis`. Without a number, `robot` and `relay` are any one of them, drawn when the time comes."""

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


class _ProcessFault(Timeless, frozen=True):
    """What all faults of processes have in common, and share with those of messages."""

    name: ClassVar[str]
    """Also the verb of the injectors (robots/run/chaos.py)."""
    is_noop: ClassVar[bool] = False
    has_duration: ClassVar[bool] = False
    """Whether it lasts, and its end is due as well."""
    process: ProcessTarget

    @property
    def target(self) -> Target:
        """The robot that is named, as a fault of messages would name it."""
        robot = self.process.robot
        return EVERYONE if robot is None else Target((((robot, robot),),))

    @property
    def target_text(self) -> str:
        """The process, and what in it, in the syntax of the grammar."""
        return self.victim(self.process.text())

    def victim(self, name: str) -> str:
        """The process of that name, or what in it is meant: what injectors and the fleet log are given."""
        return name

    def text(self) -> str:
        return f"{self.name} {self.target_text}"


class Kill(_ProcessFault, frozen=True):
    """SIGKILL: the process is gone between two instructions."""

    name: ClassVar[str] = "kill"

    @classmethod
    def read(cls, words: Tokens) -> Kill:
        return cls(_process(words.take()))


class Pause(_ProcessFault, frozen=True):
    """SIGSTOP, and SIGCONT when its time is over: the process does nothing, and does not notice."""

    name: ClassVar[str] = "pause"
    has_duration: ClassVar[bool] = True

    @classmethod
    def read(cls, words: Tokens) -> Pause:
        return cls(_supervised(words.take()))


class Resume(_ProcessFault, frozen=True):
    """SIGCONT before the time: all pauses of the process that have begun are over. The end of any pause is recorded
    under this name."""

    name: ClassVar[str] = "resume"

    @classmethod
    def read(cls, words: Tokens) -> Resume:
        word = words.take()
        process = _supervised(word, _PAUSED_HELP)
        if process.is_any:
            raise word.syntax_error(_PAUSED_HELP)
        return cls(process)


class Restart(_ProcessFault, frozen=True):
    """SIGTERM, and a new start: of a robot (its next life goes on from its journal), an RQ worker, a relay, or the
    server (which keeps its data)."""

    name: ClassVar[str] = "restart"

    @classmethod
    def read(cls, words: Tokens) -> Restart:
        return cls(_supervised(words.take()))


class Crash(_ProcessFault, frozen=True):
    """One worker of a robot raises; its siblings run on."""

    name: ClassVar[str] = "crash"
    worker: str

    def victim(self, name: str) -> str:
        return f"{name}/{self.worker}"

    @classmethod
    def read(cls, words: Tokens) -> Crash:
        robot, worker = words.take().cut("/")
        process = _robot(robot, "a worker such as r03/secret_merger")
        if worker is None:
            raise robot.syntax_error(f"{robot.text}/ and a worker: {', '.join(WORKERS)}")
        if worker.text not in WORKERS:
            raise worker.syntax_error(one_of(WORKERS, worker.text))
        return cls(process, worker.text)


class Contradict(_ProcessFault, frozen=True):
    """The robot receives another word for a part that it was dealt, in the name of another robot."""

    name: ClassVar[str] = "contradict"

    @classmethod
    def read(cls, words: Tokens) -> Contradict:
        return cls(_robot(words.take()))


class Amnesia(_ProcessFault, frozen=True):
    """The robot's journal is deleted, and its process killed."""

    name: ClassVar[str] = "amnesia"

    @classmethod
    def read(cls, words: Tokens) -> Amnesia:
        return cls(_robot(words.take()))


ProcessFault = Kill | Pause | Resume | Restart | Crash | Contradict | Amnesia

PROCESS_FAULTS: Final[tuple[FaultKind[ProcessFault], ...]] = (
    FaultKind(
        Kill.name,
        Kill.read,
        ("kill r03 @2s", "kill robot", "kill rq:r03", "kill relay", "kill redis"),
        "SIGKILL: a robot's own process, that of any robot, its RQ worker, any relay, the run's own server",
        option="PROCESS",
    ),
    FaultKind(
        Pause.name,
        Pause.read,
        ("pause r01 @9s+5s",),
        "SIGSTOP, and SIGCONT after that time; an RQ worker kills a robot that is silent for over two seconds",
        option="PROCESS",
    ),
    FaultKind(Resume.name, Resume.read, ("resume r01 @12s",), "SIGCONT before a pause is over"),
    FaultKind(
        Restart.name,
        Restart.read,
        ("restart r03 @2s", "restart robot", "restart rq:r03", "restart relay:1", "restart redis"),
        "SIGTERM, and a new start: a robot hands its job back and its next life goes on; an RQ worker is replaced",
        option="PROCESS",
    ),
    FaultKind(
        Crash.name, Crash.read, ("crash r03/secret_merger",), "one worker inside a robot raises; its siblings run on"
    ),
    FaultKind(
        Contradict.name,
        Contradict.read,
        ("contradict r03",),
        "the robot receives another word for a part that it was dealt",
    ),
    FaultKind(
        Amnesia.name,
        Amnesia.read,
        ("amnesia r03",),
        "the robot is killed and its journal deleted: what it held cannot be proven any more",
    ),
)
"""The rows of the registry."""


# What arguments are made of.


def _process(word: Token, allowed: str = _TARGET_HELP) -> ProcessTarget:
    match word.text:
        case "robot" | "relay" | "supervisor" | "redis" as kind:
            return ProcessTarget(kind)
    numbered = _NUMBERED.fullmatch(word.text)
    if numbered is None:
        raise word.syntax_error(allowed)
    return ProcessTarget(_KINDS[numbered[1]], int(numbered[2]))


def _supervised(word: Token, allowed: str = _SUPERVISED_HELP) -> ProcessTarget:
    """Any process but the supervisor: it injects the fault, and must be there to end it."""
    process = _process(word, allowed)
    if process.kind == "supervisor":
        raise word.syntax_error(allowed)
    return process


def _robot(word: Token, allowed: str = "a robot such as r03") -> ProcessTarget:
    process = _process(word, allowed)
    if process.kind != "robot" or process.number is None:
        raise word.syntax_error(allowed)
    return process
