"""Plays the faults of processes: draws who is struck, says so in the fleet log, and then has it done. The same live and
simulated; what differs is who can lay hands on the victims.

A deed stands in the fleet log before it is done, because a death must not be charged to a robot that was killed; so
while the server is away, deeds wait. What cannot be done must not stand there, or it would excuse a death all the same:
the victims are asked before. Only the end of a pause that has begun never waits, whether its time is over or
somebody resumes the process before: it may be the server that is paused.

The lie that the lab tells a robot when a deed asks for it: another word for a part that the robot was dealt.

It looks like an update from another robot, and bears the lab's mark: an incarnation that no life ever reaches. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final, Protocol

from broker.envelope import Envelope, encode, is_robot, robot_name
from broker.errors import Unavailable
from broker.faults.dice import Dice
from broker.faults.process_faults import (
    Amnesia,
    Contradict,
    Crash,
    Kill,
    Pause,
    ProcessFault,
    ProcessTarget,
    Restart,
    Resume,
)
from broker.faults.schedule import Due
from broker.ports.robot import FleetRow, Injection
from broker.ports.run import FleetLog
from robots.messages import Update, encode_message, kind_of
from robots.secret import Part
from telemetry.events import AnyEvent, FaultInjected, InjectionFailed

_KINDS: Final[dict[str, Callable[[str], bool]]] = {
    "robot": is_robot,
    "relay": lambda name: name.startswith("relay:"),
}
"""What names the processes bear of which any one may be meant."""


class Injector(Protocol):
    """Hands on the processes of a run. Names are those of a fleet's deeds (broker/ports/robot.py). Each deed returns
    False
    when there is no such victim, or nothing that could be done to it."""

    def can(self, fault: str, name: str) -> bool:
        """Whether there is such a victim, and that could be done to it now, were the server there: `fault` is the name
        of a deed other than `resume`. Raises Unavailable when only the server knows."""
        ...

    def kill(self, name: str) -> bool:
        """SIGKILL."""
        ...

    def pause(self, name: str) -> bool:
        """SIGSTOP."""
        ...

    def resume(self, name: str) -> bool:
        """SIGCONT."""
        ...

    def restart(self, name: str) -> bool:
        """Stop it in order (SIGTERM), and start it again: a robot's next life may be run by another RQ worker."""
        ...

    def crash(self, robot: str, worker: str) -> bool:
        """Let a worker of a living robot crash."""
        ...

    def contradict(self, robot: str) -> bool:
        """Put another word for a part that the robot was dealt into its inbox."""
        ...

    def amnesia(self, robot: str) -> bool:
        """Kill the robot, and delete its journal."""
        ...


class Chaos:
    """Plays what a conductor says is due. `robots`: how many were dealt."""

    def __init__(
        self,
        seed: int,
        robots: int,
        log: FleetLog,
        injector: Injector,
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self._dice = Dice(seed)
        self._robots = robots
        self._log = log
        self._injector = injector
        self._emit = emit
        self._waiting: list[Due] = []
        self._told: tuple[Due, str] | None = None  # the first of them, if it was told and not done, and to whom it is
        self._pending_ends: list[Due] = []  # ends of pauses of which nobody could be told yet
        self._paused: dict[tuple[int, int], str] = {}  # instance and turn → who was paused

    @property
    def is_idle(self) -> bool:
        """Whether no deed waits for the server."""
        return not self._waiting and not self._pending_ends

    @property
    def is_settled(self) -> bool:
        """The same, and no pause that has begun goes on."""
        return self.is_idle and not self._paused

    def inherit(self, played: Iterable[Due], fleet_rows_so_far: Iterable[FleetRow]) -> None:
        """Take over from another player: what it has `played`, and what stands in the fleet log of it."""
        pauses, ended = _told_pauses(fleet_rows_so_far), set[tuple[int, int]]()
        for due in reversed(list(played)):  # from the last on: there may be earlier turns that failed, and are not told
            occurrence = (due.instance, due.occurrence)
            if due.is_end:
                ended.add(occurrence)
            elif isinstance(due.fault, Pause) and (told := pauses[due.fault.target_text]):
                pause = told.pop()
                if not pause.is_over and occurrence not in ended:
                    self._paused[occurrence] = pause.victim

    def play(self, dues: Iterable[Due], living: Collection[str]) -> None:
        """Do what is due. `living`: the names of all robots and relays that live now, paused ones too."""
        stop_reason, self._pending_ends = self._pending_ends, []
        for due in [*stop_reason, *dues]:
            if due.is_end or (isinstance(due.fault, Resume) and self._pauses_of(due.fault)):
                self._try_to_end(due)
            else:
                self._waiting.append(due)
        with suppress(Unavailable):
            while self._waiting:
                self._begin(self._waiting[0], living)
                del self._waiting[0]

    def _try_to_end(self, due: Due) -> None:
        """The end of a pause waits for nothing but whoever has to be told of it."""
        try:
            if isinstance(due.fault, Resume):
                self._resume(due.fault)
            else:
                self._end(due)
        except Unavailable:
            self._pending_ends.append(due)

    def _begin(self, due: Due, living: Collection[str]) -> None:
        """Raises Unavailable when the deed could not be told, or it is not known whether it was done."""
        if isinstance(due.fault, Resume):
            self._resume(due.fault)
            return
        name = self._process_for(due, living)
        if name is None:
            return
        victim = _told_as(due.fault, name)
        if self._told is None:
            self._log.injection(due.fault.name, due.fault.target_text, victim)
            self._told = due, name
        is_done = _do(due.fault, name, self._injector)
        self._told = None
        if not is_done:
            self._emit(_failed(due.fault, f"it cannot be done to {name} now"))
            return
        if isinstance(due.fault, Pause):
            self._paused[due.instance, due.occurrence] = name
        self._emit(FaultInjected(due.fault.name, due.fault.target_text, victim))

    def _process_for(self, due: Due, living: Collection[str]) -> str | None:
        """Who is struck; None, and that is told, when nobody can be. What was told already is done to that one."""
        if self._told is not None and self._told[0] is due:
            return self._told[1]
        self._told = None
        name = self._draw(due, living)
        if name is None or (_is_listed(name) and name not in living):
            self._emit(_failed(due.fault, f"there is no {name or due.fault.process.kind} now"))
            return None
        if not self._injector.can(due.fault.name, name):
            self._emit(_failed(due.fault, f"it cannot be done to {name} now"))
            return None
        return name

    def _end(self, due: Due) -> None:
        """The end of a pause; of one that has not begun, because the server was away, nothing is left."""
        self._waiting = [
            begin for begin in self._waiting if (begin.instance, begin.occurrence) != (due.instance, due.occurrence)
        ]
        name = self._paused.get((due.instance, due.occurrence))
        if name is not None:
            self._let_go_on(name)
            del self._paused[due.instance, due.occurrence]

    def _resume(self, resume: Resume) -> None:
        """All pauses of the process are over; their own ends are no events any more."""
        name = self._name(resume.process)
        pauses = self._pauses_of(resume)
        if not pauses:
            self._emit(_failed(resume, f"no pause of {name} has begun"))
        elif not self._let_go_on(name):
            self._emit(_failed(resume, f"it cannot be done to {name} now"))
        for pause in pauses:
            del self._paused[pause]

    def _pauses_of(self, resume: Resume) -> list[tuple[int, int]]:
        """Those that have begun, and are not over, of the process that is to be resumed."""
        name = self._name(resume.process)
        return [pause for pause, paused in self._paused.items() if paused == name]

    def _let_go_on(self, name: str) -> bool:
        """End a pause, and tell so; False when there is nobody who could go on. Raises Unavailable when it is not known
        whether whoever has to do it was told."""
        if not self._injector.resume(name):
            return False
        with suppress(Unavailable):  # it excuses nothing
            self._log.injection(Resume.name, name, name)
        self._emit(FaultInjected(Resume.name, name, name))
        return True

    def _draw(self, due: Due, living: Collection[str]) -> str | None:
        """The name of the one who is meant; None when there is none."""
        process = due.fault.process
        if not process.is_any:
            return self._name(process)
        candidates = sorted(filter(_KINDS[process.kind], living), key=lambda name: (len(name), name))
        if not candidates:
            return None
        chance = self._dice.of(process.kind, due.occurrence, "", 0).number(due.instance, 0, 0)
        return candidates[int(chance * len(candidates))]

    def _name(self, process: ProcessTarget) -> str:
        if process.robot is None:
            return process.text()
        return f"{'rq:' if process.kind == 'rq' else ''}{robot_name(process.robot, self._robots)}"


@dataclass
class _Pause:
    """A pause that was told, and whether its victim went on after it."""

    victim: str
    is_over: bool = False


def _told_pauses(fleet_rows_so_far: Iterable[FleetRow]) -> dict[str, list[_Pause]]:
    """All that were told, in order, by their targets."""
    pauses: dict[str, list[_Pause]] = defaultdict(list)
    for row in fleet_rows_so_far:
        if not isinstance(row, Injection):
            continue
        if row.verb == Pause.name:
            pauses[row.target].append(_Pause(row.victim))
        elif row.verb == Resume.name:
            for pause in chain.from_iterable(pauses.values()):
                pause.is_over |= pause.victim == row.victim
    return pauses


def _told_as(fault: Kill | Pause | Restart | Crash | Contradict | Amnesia, name: str) -> str:
    """A deed's victim, as the fleet log names it."""
    return f"{name}/{fault.worker}" if isinstance(fault, Crash) else name


def _failed(fault: ProcessFault, why: str) -> InjectionFailed:
    return InjectionFailed(fault.name, fault.target_text, why)


def _is_listed(name: str) -> bool:
    """Whether a process of that name would be among the living, if it lived."""
    return any(bears(name) for bears in _KINDS.values())


def _do(fault: Kill | Pause | Restart | Crash | Contradict | Amnesia, name: str, injector: Injector) -> bool:
    match fault:
        case Kill():
            return injector.kill(name)
        case Pause():
            return injector.pause(name)
        case Restart():
            return injector.restart(name)
        case Crash(worker=worker):
            return injector.crash(name, worker)
        case Contradict():
            return injector.contradict(name)
        case Amnesia():
            return injector.amnesia(name)


INCARNATION: Final = 1 << 32
"""Whom nobody must take for a life."""

_CONTRADICTIONS: Final = ("lie ", "another lie ")
_EXCHANGE: Final = bytes(8)  # none that anybody began


def contradictory_update(run: str, part: Part, robot: str, sender: str, number: int) -> bytes:
    """A frame that tells `robot` a wrong word for `part`, which it was dealt, as if `sender` had said so. It is the
    lab's `number`-th to it (from 1): two are no repeats."""
    word = next(word for word in _CONTRADICTIONS if word != part.word)
    contradictory = Update((Part(part.index, word, part.last),))
    envelope = Envelope(
        run, sender, INCARNATION, robot, number, _EXCHANGE, kind_of(contradictory), encode_message(contradictory)
    )
    return encode(envelope)
