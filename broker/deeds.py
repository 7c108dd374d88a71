"""The faults that strike processes, as data: what is to be done, and to whom. Nothing here does anything.

How such a fault is written stands in its `text()`; how a text is read, in broker/grammar.py; when each is due, in
broker/agenda.py. Who plays them: robots/chaos.py. They never travel in outboxes, and no fate depends on them.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

import msgspec

from broker.targets import EVERYONE, Target

WORKERS: Final = (
    *("inbox_reader", "summary_processor", "secret_merger", "gossip_initiator"),
    *("quiescence_detector", "convergence_detector", "outbox_writer"),
)
"""The workers of a robot that may be crashed: what robots/robot.py calls them."""


class Victim(msgspec.Struct, frozen=True):
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


class _Deed(msgspec.Struct, frozen=True):
    """What all faults of processes have in common, and share with those of messages."""

    name: ClassVar[str]
    is_noop: ClassVar[bool] = False
    victim: Victim

    @property
    def target(self) -> Target:
        """The robot that is named, as a fault of messages would name it."""
        robot = self.victim.robot
        return EVERYONE if robot is None else Target((((robot, robot),),))

    def text(self) -> str:
        return f"{self.name} {self.victim.text()}"


class Kill(_Deed, frozen=True):
    """SIGKILL: the process is gone between two instructions."""

    name: ClassVar[str] = "kill"


class Pause(_Deed, frozen=True):
    """SIGSTOP, and SIGCONT when its time is over: the process does nothing, and does not notice."""

    name: ClassVar[str] = "pause"


class Resume(_Deed, frozen=True):
    """SIGCONT before the time: whatever pauses of the process have begun are over. So is told how any pause ends."""

    name: ClassVar[str] = "resume"


class Restart(_Deed, frozen=True):
    """A stop in order, and a new start: a robot (its next life goes on from its journal), an RQ worker, a relay, or
    the server (which keeps what it holds)."""

    name: ClassVar[str] = "restart"


class Crash(_Deed, frozen=True):
    """One worker of a robot raises; its siblings run on."""

    name: ClassVar[str] = "crash"
    worker: str

    def text(self) -> str:
        return f"{self.name} {self.victim.text()}/{self.worker}"


class Contradict(_Deed, frozen=True):
    """The robot is sent another word for a part that it was dealt, as if another robot had said so."""

    name: ClassVar[str] = "contradict"


class Amnesia(_Deed, frozen=True):
    """The robot's journal is deleted, and its process killed."""

    name: ClassVar[str] = "amnesia"


ProcessFault = Kill | Pause | Resume | Restart | Crash | Contradict | Amnesia

DEEDS: Final = ("kill", "pause", "resume", "restart", "crash", "contradict", "amnesia")
"""Their names."""
