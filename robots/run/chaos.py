"""Chaos: injects the faults of processes that are due, the same live and simulated; only the injector differs.

It draws the victim, writes the injection into the fleet log, and then has it done: a death must not be charged to a
robot that the lab killed, so while the server is away, injections wait. One that cannot be done is written there as a
failure only, because an injection would excuse a death all the same; so the injector is checked first. Only the end of
a pause never waits, whether its time is over or a `resume` comes before: the paused process may be the server.

The contradictory update stands here too: a false word for a part that a robot was dealt, in the name of another robot,
with an incarnation that no life ever reaches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final, Protocol

from broker.envelope import NO_LIFE, Envelope, encode, is_robot, robot_name
from broker.errors import Unavailable
from broker.faults.dice import Dice
from broker.faults.process_faults import Pause, ProcessTarget, Resume
from broker.faults.schedule import Due
from broker.ports.robot import Death, Failure, FleetRow, Injection
from broker.ports.run import FleetLog
from robots.messages import Update, encode_message, kind_of
from robots.secret import Part
from telemetry.events import AnyEvent, FaultInjected, InjectionFailed

_KINDS: Final[dict[str, Callable[[str], bool]]] = {
    "robot": is_robot,
    "relay": lambda name: name.startswith("relay:"),
}
"""The kinds of which any process may be meant, and how its names are known."""


class Injector(Protocol):
    """What can do something to the processes of a run. A verb is the name of a fault of processes; names of processes
    are those of the fleet log (broker/ports/robot.py)."""

    def can(self, verb: str, name: str) -> bool:
        """Whether there is such a process, and that could be done to it now, were the server there. Never called for
        `resume`. Raises Unavailable when only the server knows."""
        ...

    def inject(self, verb: str, victim: str) -> bool:
        """Do it. `victim` is a process, or for `crash` a worker in it (`r03/secret_merger`). False when there is no
        such victim, or nothing that could be done to it. Raises Unavailable when it is not known whether it was done.
        """
        ...


class Chaos:
    """Injects what a PlanScheduler hands out. `robots`: how many were dealt."""

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
        self._recorded: tuple[Due, str] | None = (
            None  # the first of them, if it is in the log but not done; its process
        )
        self._pending_ends: list[Due] = []  # ends of pauses that could not be done yet
        self._paused: dict[tuple[int, int], str] = {}  # instance and occurrence → the paused process

    @property
    def is_idle(self) -> bool:
        """Whether no injection waits for the server."""
        return not self._waiting and not self._pending_ends

    @property
    def is_settled(self) -> bool:
        """The same, and every pause that has begun is over."""
        return self.is_idle and not self._paused

    def inherit(self, played: Iterable[Due], fleet_rows_so_far: Iterable[FleetRow]) -> None:
        """Take over from another Chaos: what was due to it (`played`), and the fleet log so far."""
        pauses, ended = _recorded_pauses(fleet_rows_so_far), set[tuple[int, int]]()
        for due in reversed(list(played)):  # from the last on: earlier ones may have failed, and are not recorded
            occurrence = (due.instance, due.occurrence)
            if due.is_end:
                ended.add(occurrence)
            elif isinstance(due.fault, Pause) and (recorded := pauses[due.fault.target_text]):
                pause = recorded.pop()
                if not pause.is_over and occurrence not in ended:
                    self._paused[occurrence] = pause.victim

    def play(self, dues: Iterable[Due], living: Collection[str]) -> None:
        """Inject what is due. `living`: the names of all robots and relays that live now, paused ones too."""
        ends, self._pending_ends = self._pending_ends, []
        for due in [*ends, *dues]:
            if due.is_end or (isinstance(due.fault, Resume) and self._pauses_of(due.fault)):
                self._try_to_end(due)
            else:
                self._waiting.append(due)
        with suppress(Unavailable):
            while self._waiting:
                self._begin(self._waiting[0], living)
                del self._waiting[0]

    def _try_to_end(self, due: Due) -> None:
        """End a pause, now or, if the injector cannot reach the process, with the next call."""
        try:
            if isinstance(due.fault, Resume):
                self._resume(due, due.fault)
            else:
                self._end(due)
        except Unavailable:
            self._pending_ends.append(due)

    def _begin(self, due: Due, living: Collection[str]) -> None:
        """Raises Unavailable when the injection could not be recorded, or it is not known whether it was done."""
        if isinstance(due.fault, Resume):
            self._resume(due, due.fault)
            return
        name = self._process_for(due, living)
        if name is None:
            return
        victim = due.fault.victim(name)
        if self._recorded is None:
            self._log.injection(due.fault.name, due.fault.target_text, victim, due.request_id)
            self._recorded = due, name
        if not self._injector.inject(due.fault.name, victim):
            self._fail(due, f"it cannot be done to {name} now")
            self._recorded = None
            return
        self._recorded = None
        if isinstance(due.fault, Pause):
            self._paused[due.instance, due.occurrence] = name
        self._emit(FaultInjected(due.fault.name, due.fault.target_text, victim))

    def _process_for(self, due: Due, living: Collection[str]) -> str | None:
        """The process that it goes to, the recorded one if it is recorded; None, and a failure, when there is none.
        Raises Unavailable."""
        if self._recorded is not None and self._recorded[0] is due:
            return self._recorded[1]
        self._recorded = None
        name = self._draw(due, living)
        if name is None or (_is_listed(name) and name not in living):
            self._fail(due, f"there is no {name or due.fault.process.kind} now")
            return None
        if not self._injector.can(due.fault.name, name):
            self._fail(due, f"it cannot be done to {name} now")
            return None
        return name

    def _end(self, due: Due) -> None:
        """End a pause; one that has not begun, because the server was away, is cancelled."""
        self._waiting = [
            begin for begin in self._waiting if (begin.instance, begin.occurrence) != (due.instance, due.occurrence)
        ]
        name = self._paused.get((due.instance, due.occurrence))
        if name is not None:
            self._continue(name)
            del self._paused[due.instance, due.occurrence]

    def _fail(self, due: Due, why: str) -> None:
        """Record and report that it is not done. Raises Unavailable when that could not be recorded: it is tried again
        then."""
        verb, target = due.fault.name, due.fault.target_text
        self._log.failure(verb, target, why, due.request_id)
        self._emit(InjectionFailed(verb, target, why))

    def _resume(self, due: Due, resume: Resume) -> None:
        """End all pauses of the process; their own ends have no effect any more. Raises Unavailable."""
        name = self._name(resume.process)
        pauses = self._pauses_of(resume)
        if not pauses:
            self._fail(due, f"no pause of {name} has begun")
        elif not self._continue(name, due.request_id):
            self._fail(due, f"it cannot be done to {name} now")
        for pause in pauses:
            del self._paused[pause]

    def _pauses_of(self, resume: Resume) -> list[tuple[int, int]]:
        """The pauses of the process that have begun and are not over."""
        name = self._name(resume.process)
        return [pause for pause, paused in self._paused.items() if paused == name]

    def _continue(self, name: str, request_id: str = "") -> bool:
        """Let the process continue, and record that. False when there is no such process. Raises Unavailable when it is
        not known whether it was done."""
        if not self._injector.inject(Resume.name, name):
            return False
        with suppress(Unavailable):  # it excuses no death
            self._log.injection(Resume.name, name, name, request_id)
        self._emit(FaultInjected(Resume.name, name, name))
        return True

    def _draw(self, due: Due, living: Collection[str]) -> str | None:
        """The name of the process that is meant; None when none lives."""
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
    """A recorded pause, and whether its victim continued after it."""

    victim: str
    is_over: bool = False


def _recorded_pauses(fleet_rows_so_far: Iterable[FleetRow]) -> dict[str, list[_Pause]]:
    """All pauses in the log, in order, by their targets."""
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


def paused_in(fleet_rows_so_far: Iterable[FleetRow]) -> set[str]:
    """The processes that a pause has stopped, and that neither went on nor died since."""
    paused: dict[str, str] = {}  # by victim, the target of the pause
    for row in fleet_rows_so_far:
        match row:
            case Injection(verb=Pause.name):
                paused[row.victim] = row.target
            case Injection(verb=Resume.name):
                paused.pop(row.victim, None)
            case Failure(verb=Pause.name) if row.target in paused.values():
                del paused[[victim for victim, target in paused.items() if target == row.target][-1]]
            case Death():
                paused.pop(row.victim, None)
                paused.pop(row.robot, None)
    return set(paused)


def _is_listed(name: str) -> bool:
    """Whether a process of that name would be among the living, if it lived."""
    return any(is_kind(name) for is_kind in _KINDS.values())


_CONTRADICTIONS: Final = ("lie ", "another lie ")
_EXCHANGE: Final = bytes(8)  # of no real exchange


def contradictory_update(run: str, part: Part, robot: str, sender: str, number: int) -> bytes:
    """The frame of an update from `sender` to `robot` with a false word for `part`, which the robot was dealt.

    `number`, from 1, is its sequence number: with two different ones, the second is no duplicate of the first.
    """
    word = next(word for word in _CONTRADICTIONS if word != part.word)
    contradictory = Update((Part(part.index, word, part.last),))
    envelope = Envelope(
        run, sender, NO_LIFE, robot, number, _EXCHANGE, kind_of(contradictory), encode_message(contradictory)
    )
    return encode(envelope)
