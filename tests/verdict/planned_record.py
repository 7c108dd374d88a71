"""Records of runs whose plan changes in time, as an honest leader plays it; `fakes` records injections that were never
done. No tests here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from broker.control_entries import PlanChange
from broker.faults.grammar import parse_line
from broker.faults.schedule import Due, timed
from broker.faults.scheduler import PlanScheduler
from telemetry.events import FaultInjected, InvariantViolated, RobotLeft, RobotStarted
from tests.verdict.honest_record import PAIRS
from tests.verdict.scribe import GO_MS, ROBOTS, Files, Scribe, files_of

STEP_MS = 20
SEND_MS = 60


class Leader(Scribe):
    """Plays a plan, step by step, while robots send envelopes."""

    def __init__(self, lines: Sequence[str], fakes: Collection[str], for_us: int) -> None:
        super().__init__([])
        self.scheduler = PlanScheduler(timed([parse_line(line) for line in lines]), for_us)
        self.fakes = fakes
        self.paused: dict[str, Due] = {}
        self.turn = 0

    def begin(self) -> None:
        self.publish(self.scheduler.first)
        for robot in ROBOTS:
            self.journals[robot].append({"robot": robot, "id": "0-1", "entry": "header", "origin": "dealt"})
            self.born(robot)
        self.step(0)
        self.order("go", GO_MS)
        for robot in ROBOTS:
            self.emit(robot, RobotStarted())

    def publish(self, change: PlanChange) -> None:
        faults = [{"instance": planned.instance, "fault": planned.text} for planned in change.faults]
        request = {"request_id": change.request_id, "request": change.request, "refusal": change.refusal}
        for shard in (0, 1):
            self._control(shard, {"control": "plan", "faults": faults, **request})

    def step(self, now_us: int) -> None:
        change = self.scheduler.advance(now_us)
        if change is not None:
            self.publish(change)
        for due in self.scheduler.due_faults(now_us):
            self.inject(due)

    def answer(self, request: str, now_us: int) -> None:
        entry = f"{self.now_ms}-0"
        if not self.scheduler.is_about_processes(request, now_us):
            self.publish(self.scheduler.answer(entry, request, now_us))
            return
        answer = self.scheduler.answer(entry, request, now_us)
        self.now_ms += 1
        words = {"request_id": entry, "request": request, "refusal": answer.refusal}
        self.fleet.append({"id": f"{self.now_ms}-0", "row": "acknowledgement", **words})

    def inject(self, due: Due) -> None:
        verb, target = due.fault.name, due.fault.target_text
        victim = target.replace("robot", "r01")
        robot = victim.removeprefix("rq:")
        if due.is_end:
            self.paused.pop(robot, None)
            self.injection("resume", victim, victim)
            return
        self.injection(verb, target, victim)
        self.emit("lab", FaultInjected(verb, target, victim))
        if verb not in self.fakes:
            self.do(verb, victim, robot, due)

    def do(self, verb: str, victim: str, robot: str, due: Due) -> None:
        match verb:
            case "pause":
                self.paused[robot] = due
            case "restart":
                self.emit(robot, RobotLeft("recalled"))
                self.born(robot)
            case "kill" if victim == "redis":
                self.now_ms += 1
                row = {"victim": "redis", "robot": "", "incarnation": 0, "how": "signal", "status": -9}
                self.fleet.append({"id": f"{self.now_ms}-0", "row": "death", **row})
            case "kill" | "amnesia":
                self.die(robot, victim=victim)
                self.now_ms += 50
                self.born(robot)
            case "contradict":
                place = (robot, 1 << 32, 1, 0)
                self.emit(robot, InvariantViolated("one word", "two words", 0, *place))
        if verb == "amnesia":
            self.journals[robot] = [{"robot": robot, "entry": "lost"}]

    def gossip(self) -> None:
        pairs = [pair for pair in PAIRS if pair[0] not in self.paused]
        self.send(*pairs[self.turn % len(pairs)], "answer")
        self.turn += 1


def planned(
    lines: Sequence[str],
    *,
    seconds: float = 9.0,
    requests: Mapping[float, str] | None = None,
    fakes: Collection[str] = (),
    for_us: int = 0,
) -> Files:
    """The record of a run of so many seconds under these lines. `requests`: what people made, by seconds after go."""
    leader = Leader(lines, fakes, for_us)
    leader.begin()
    waiting = sorted((requests or {}).items())
    end_ms = GO_MS + round(seconds * 1000)
    sent_ms = GO_MS
    while leader.now_ms < end_ms:
        leader.now_ms += STEP_MS
        now_us = (leader.now_ms - GO_MS) * 1000
        leader.step(now_us)
        while waiting and waiting[0][0] * 1e6 <= now_us:
            leader.answer(waiting.pop(0)[1], now_us)
        if leader.now_ms - sent_ms >= SEND_MS:
            sent_ms = leader.now_ms
            leader.gossip()
    leader.order("stop", leader.now_ms + 1, "complete")
    for robot in ROBOTS:
        leader.emit(robot, RobotLeft("complete"))
    leader.publish(PlanChange(()))
    leader.decide()  # what a partition held back, too
    files = files_of(leader)
    files["settings"] |= {"plan": list(lines), "instances": list(range(len(lines))), "for_us": for_us}
    return files
