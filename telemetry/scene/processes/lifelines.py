"""What each process of a run went through, over time: robots, their RQ workers, relays, the server, the supervisor.

Only events tell it. Where they cannot (a process of another host was told to end), a later event of that very process
corrects it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from telemetry.events import (
    RECALLED,
    Event,
    EvidenceLost,
    FatesDecided,
    FaultInjected,
    PlanChanged,
    ProcessDied,
    ProcessStarted,
    RelayDeposed,
    RelayMissing,
    RelayResumed,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotLeft,
    RobotLost,
    RobotRecovered,
    RobotWaiting,
    RobotYielded,
    ServerForgot,
    Stamped,
    SupervisorBegan,
    SupervisorStalled,
    TicksExecuted,
    WorkerCrashed,
    WorkerGaveUp,
)
from telemetry.phrases import seconds
from telemetry.scene.processes.stretches import Condition, Line, Stretch, resumed, stretch_at, with_stretch
from telemetry.view import View

SERVER: Final = "redis"
SUPERVISOR: Final = "supervisor"
INJECTED: Final = "(injected)"
"""What stands in the reason of a stretch that the lab caused."""

_SIGN_OF_LIFE_US: Final = 1_000_000
"""What a process reports so long after its supposed end shows that it lives: an injection may have been requested only,
and a lease may run out while its robot lives."""

_CAUSE_US: Final = 5_000_000  # an injection is the reason of an end within this time
_SAME_NOTE_US: Final = 1_000_000


class Remark(NamedTuple):
    """Something that happened to a process, and did not end it."""

    at_us: int
    text: str


class Lifelines:
    """`lines` by process: `r03`, `rq:r03` (the RQ worker of r03, once something happened to it), `relay:0` (whichever
    relay serves that shard), `redis`, `supervisor`. `notes` by process: injections, crashes of workers, and the like.
    """

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.notes: dict[str, tuple[Remark, ...]] = {}
        self._holders: dict[str, str] = {}  # by shard: the source that reported last that it took it
        self._causes: dict[str, tuple[int, str]] = {}  # by process: the last injection that may end it

    def handle(self, stamped: Stamped, view: View) -> None:
        """Take what an event says of a process. `view`: the view after it."""
        change = _CHANGES.get(type(stamped.event))
        if change is not None:
            change(self, stamped, stamped.event, view)

    def copy(self) -> Lifelines:
        other = Lifelines()
        other.lines, other.notes = self.lines.copy(), self.notes.copy()
        other._holders, other._causes = self._holders.copy(), self._causes.copy()
        return other

    # Changes of one line
    def _set(self, process: str, at_us: int, condition: Condition, why: str, life: int = 0) -> None:
        self.lines[process] = with_stretch(self.lines.get(process, ()), Stretch(at_us, condition, why, life))

    def _end(self, process: str, at_us: int, why: str, condition: Condition = "down") -> None:
        """It ended; an injection shortly before is the reason, unless it ended for good."""
        injected_us, cause = self._causes.get(process, (0, ""))
        if condition == "down" and cause and 0 <= at_us - injected_us <= _CAUSE_US:
            why = cause
        last = stretch_at(self.lines.get(process, ()), at_us)
        self._set(process, at_us, condition, why, last.life if last else 0)

    def _note(self, process: str, at_us: int, text: str) -> None:
        notes = self.notes.get(process, ())
        if not notes or notes[-1].text != text or at_us - notes[-1].at_us > _SAME_NOTE_US:
            self.notes[process] = (*notes, Remark(at_us, text))

    def _was_there(self, process: str, at_us: int, view: View) -> None:
        """A process of which no beginning was reported lives since the deal."""
        if process not in self.lines:
            self.lines[process] = (Stretch(min(view.dealt_us or at_us, at_us), "up"),)

    def _lives_on(self, process: str, at_us: int, life: int = 0) -> None:
        """It reported something: if it was held dead long before, it was not."""
        line = self.lines.get(process)
        if line is None or line[-1].condition != "down" or line[-1].life != life:
            return
        if at_us - line[-1].from_us > _SIGN_OF_LIFE_US:
            self._set(process, at_us, "up", "it lives on", life)

    # What a robot and its supervisor report
    def _born(self, stamped: Stamped, _event: RobotBorn, view: View) -> None:
        robot, life = stamped.source, stamped.incarnation
        seen = view.robots.get(robot)
        is_complete = seen is not None and seen.incarnation == life and seen.is_complete
        self._causes.pop(robot, None)
        self._set(robot, stamped.wall_us, "up", f"life {life}", life)
        if is_complete:
            self._set(robot, stamped.wall_us, "complete", f"life {life}", life)
        if f"rq:{robot}" in self.lines:
            self._set(f"rq:{robot}", stamped.wall_us, "up", f"runs {robot}")

    def _recovered(self, stamped: Stamped, event: RobotRecovered, _view: View) -> None:
        died_us = stamped.wall_us - event.down_us
        last = stretch_at(self.lines.get(stamped.source, ()), stamped.wall_us)
        if last is not None and last.condition in ("up", "complete", "paused") and last.life < stamped.incarnation:
            self._end(stamped.source, max(died_us, last.from_us), "it died; nothing was injected")

    def _complete(self, stamped: Stamped, _event: RobotComplete, _view: View) -> None:
        self._set(stamped.source, stamped.wall_us, "complete", "holds all parts", stamped.incarnation)

    def _left(self, stamped: Stamped, event: RobotLeft, _view: View) -> None:
        if event.reason == RECALLED:
            self._end(stamped.source, stamped.wall_us, "recalled, to live on elsewhere")
        else:
            self._end(stamped.source, stamped.wall_us, f"the run ended ({event.reason})", "left")

    def _fenced(self, stamped: Stamped, _event: RobotFenced, _view: View) -> None:
        last = stretch_at(self.lines.get(stamped.source, ()), stamped.wall_us)
        if last is not None and last.life == stamped.incarnation:
            self._end(stamped.source, stamped.wall_us, "fenced: a later life exists", "dead")
        else:
            self._note(stamped.source, stamped.wall_us, "an older life was fenced, and ended")

    def _evidence_lost(self, stamped: Stamped, event: EvidenceLost, _view: View) -> None:
        if event.stream == "journal":
            self._end(stamped.source, stamped.wall_us, "its journal is lost", "dead")

    def _gave_up(self, stamped: Stamped, event: WorkerGaveUp, _view: View) -> None:
        if event.worker == stamped.source or event.worker.startswith("relay:"):
            why = f"died too often ({event.crashes} times): it is not started again"
            self._end(event.worker, stamped.wall_us, why, "dead")
        else:
            self._end(stamped.source, stamped.wall_us, f"{event.worker} crashed too often: the life ends")

    def _crashed(self, stamped: Stamped, event: WorkerCrashed, _view: View) -> None:
        self._note(stamped.source, stamped.wall_us, f"{event.worker} crashed: {event.error}")

    def _ticked(self, stamped: Stamped, _event: TicksExecuted, _view: View) -> None:
        self._lives_on(stamped.source, stamped.wall_us, stamped.incarnation)

    # What is reported of robots
    def _lost(self, stamped: Stamped, event: RobotLost, _view: View) -> None:
        self._end(event.robot, stamped.wall_us, "the lease of its RQ worker ran out")

    def _waiting(self, stamped: Stamped, event: RobotWaiting, _view: View) -> None:
        last = stretch_at(self.lines.get(event.robot, ()), stamped.wall_us)
        life = last.life if last else 0
        self._set(event.robot, stamped.wall_us, "waiting", "no RQ worker is free", life)

    def _yielded(self, stamped: Stamped, event: RobotYielded, _view: View) -> None:
        self._causes[event.robot] = stamped.wall_us, f"gave way to {event.to}"

    # Processes
    def _injected(self, stamped: Stamped, event: FaultInjected, view: View) -> None:
        at_us, victim, verb = stamped.wall_us, event.victim, event.verb
        process = victim.partition("/")[0]
        if verb == "resume":
            self.lines[process] = resumed(self.lines.get(process, ()), at_us)
            return
        self._was_there(process, at_us, view)
        if verb == "pause":
            last = stretch_at(self.lines[process], at_us)
            if last is not None and last.condition in ("up", "complete"):
                self._set(process, at_us, "paused", f"paused {INJECTED}", last.life)
            else:
                self._note(process, at_us, f"paused {INJECTED}, while its next life was being born")
        elif verb in ("crash", "contradict"):
            what = f"crash of {victim.partition('/')[2]}" if verb == "crash" else "contradictory update"
            self._note(process, at_us, f"{what} {INJECTED}")
        else:
            self._causes[process] = at_us, f"{_ENDS.get(verb, verb)} {INJECTED}"
            if process.startswith("rq:"):
                self._causes[process.removeprefix("rq:")] = (
                    at_us,
                    f"its RQ worker was {_ENDS.get(verb, verb)} {INJECTED}",
                )
            if verb != "restart" or process == SERVER:
                self._end(process, at_us, "")

    def _died(self, stamped: Stamped, event: ProcessDied, view: View) -> None:
        process, at_us = event.process, stamped.wall_us
        if _is_worker_slot(process) or self._holders.get(process, process) != process:
            return  # it ran no robot, or another relay serves its shard
        self._was_there(process, at_us, view)
        if view.stopped is not None and event.status == 0:
            self._end(process, at_us, "ended in order", "left")
            return
        why = f"killed by signal {-event.status}" if event.status < 0 else f"ended with status {event.status}"
        self._end(process, at_us, why)
        if process.startswith("rq:"):
            self._end(process.removeprefix("rq:"), at_us, f"its RQ worker was {why}")

    def _started(self, stamped: Stamped, event: ProcessStarted, _view: View) -> None:
        if not event.process.startswith("rq:"):
            self._causes.pop(event.process, None)
            self._set(event.process, stamped.wall_us, "up", "started")

    def _resumed(self, stamped: Stamped, event: RelayResumed, _view: View) -> None:
        shard = f"relay:{event.shard}"
        self._holders[shard] = stamped.source
        who = "" if stamped.source == shard else f"{_short(stamped.source)} "
        redone = f", {event.pending} entries to redo" if event.pending else ""
        self._set(shard, stamped.wall_us, "up", f"{who}took the shard{redone}")

    def _missing(self, stamped: Stamped, event: RelayMissing, _view: View) -> None:
        self._set(f"relay:{event.shard}", stamped.wall_us, "down", "no relay serves the shard")

    def _deposed(self, stamped: Stamped, event: RelayDeposed, _view: View) -> None:
        shard = f"relay:{event.shard}"
        if self._holders.get(shard, stamped.source) == stamped.source:
            self._end(shard, stamped.wall_us, "its relay lost the lease")

    def _decided(self, stamped: Stamped, event: FatesDecided | PlanChanged, view: View) -> None:
        shard = f"relay:{event.shard}"
        line = self.lines.get(shard)
        if line is None:
            self._was_there(shard, stamped.wall_us, view)
        elif line[-1].condition != "up":
            self._lives_on(shard, stamped.wall_us)

    def _began(self, stamped: Stamped, _event: SupervisorBegan, _view: View) -> None:
        self._set(SUPERVISOR, stamped.wall_us, "up", f"{_short(stamped.source)} leads")

    def _stalled(self, stamped: Stamped, event: SupervisorStalled, view: View) -> None:
        since_us = stamped.wall_us - event.stalled_us
        self._was_there(SUPERVISOR, since_us, view)
        self._set(SUPERVISOR, since_us, "paused", f"took no step for {seconds(event.stalled_us)}")
        self.lines[SUPERVISOR] = resumed(self.lines[SUPERVISOR], stamped.wall_us)

    def _forgot(self, stamped: Stamped, _event: ServerForgot, view: View) -> None:
        self._was_there(SERVER, stamped.wall_us, view)
        self._note(SERVER, stamped.wall_us, "came back without its newest data")


_ENDS: Final = {"kill": "killed", "amnesia": "killed, its journal deleted", "restart": "restarted"}


def _short(source: str) -> str:
    """`standby:6eb9` of `standby:6eb9ae27eec72c89`: a person tells few of them apart."""
    kind, separator, name = source.partition(":")
    return f"{kind}{separator}{name[:4]}"


def _is_worker_slot(process: str) -> bool:
    """`rq:w03` is an RQ worker that runs no robot; one that ran r03 is reported as `rq:r03`."""
    return process.startswith("rq:") and not process.startswith("rq:r")


_Change = Callable[[Lifelines, Stamped, Any, View], None]
_CHANGES: Final[dict[type[Event], _Change]] = {
    RobotBorn: Lifelines._born,
    RobotRecovered: Lifelines._recovered,
    RobotComplete: Lifelines._complete,
    RobotLeft: Lifelines._left,
    RobotFenced: Lifelines._fenced,
    EvidenceLost: Lifelines._evidence_lost,
    WorkerGaveUp: Lifelines._gave_up,
    WorkerCrashed: Lifelines._crashed,
    TicksExecuted: Lifelines._ticked,
    RobotLost: Lifelines._lost,
    RobotWaiting: Lifelines._waiting,
    RobotYielded: Lifelines._yielded,
    FaultInjected: Lifelines._injected,
    ProcessDied: Lifelines._died,
    ProcessStarted: Lifelines._started,
    RelayResumed: Lifelines._resumed,
    RelayMissing: Lifelines._missing,
    RelayDeposed: Lifelines._deposed,
    FatesDecided: Lifelines._decided,
    PlanChanged: Lifelines._decided,
    SupervisorBegan: Lifelines._began,
    SupervisorStalled: Lifelines._stalled,
    ServerForgot: Lifelines._forgot,
}
