"""What honest robots and relays leave behind, written down by hand, row by row. No tests here."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from telemetry.events import (
    AnyEvent,
    MessageSent,
    PartsMerged,
    RobotBorn,
    RobotComplete,
    RobotLeft,
    TicksExecuted,
    WorkerLeft,
)
from telemetry.pipeline import Emitter
from telemetry.verdict.evidence.schema import WRITE_ID, BornRow, FateRow, PlanRow
from telemetry.verdict.evidence.traffic import key_of
from telemetry.verdict.promises.supervised_signs import WORKERS
from telemetry.verdict.recomputed.fates import Rulebook

BASE_MS = 1_700_000_000_000
GO_MS = BASE_MS + 100
STOP_MS = GO_MS + 4_000
TICK_US = 100_000
SEED = 7
PLAN = ["loss 0.2", "duplicate 0.3", "delay 5ms..20ms", "reorder 0.2"]
ROBOTS = ["r00", "r01", "r02"]
WORDS = ["Ein  ", "Räuber\n", "lacht"]
SALT = bytes(range(16))
ROW_FILES = ("plan", "fates", "journals", "fleet", "events")
FILES = {
    **{name: f"{name}.json" for name in ("settings", "deal", "register", "streams")},
    **{name: f"{name}.jsonl" for name in ROW_FILES},
}

Files = dict[str, Any]
LATE_MS = 5_024  # the longest delay after a first crash, and the grace
END_MS = STOP_MS + 60_000


class Scribe:
    """Writes down what three honest robots and two relays would leave behind. r02 is killed once, and comes back."""

    def __init__(self, faults: Sequence[str] = PLAN) -> None:
        self.now_ms = BASE_MS
        self.faults = faults
        self.plan: list[dict[str, Any]] = []
        self.fates: list[dict[str, Any]] = []
        self.journals: dict[str, list[dict[str, Any]]] = {robot: [] for robot in ROBOTS}
        self.births: dict[str, list[dict[str, Any]]] = {robot: [] for robot in ROBOTS}
        self.orders = [{"id": f"{BASE_MS}-0", "order": "dealt", "reason": None}]
        self.outboxes = {"0": 0, "1": 0}
        self.inboxes = dict.fromkeys(ROBOTS, 0)
        self.fleet: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.life = dict.fromkeys(ROBOTS, 0)
        self.sequences: dict[tuple[str, str], int] = {}
        self.emitters = {name: Emitter("abc123", name, 0, self, self.take) for name in ("lab", *ROBOTS)}

    def monotonic_us(self) -> int:
        return (self.now_ms - BASE_MS) * 1000

    def wall_us(self) -> int:
        return self.now_ms * 1000

    def take(self, stamped: Any) -> None:
        self.events.append(msgspec.to_builtins(stamped))

    def emit(self, source: str, event: AnyEvent) -> None:
        if isinstance(event, RobotLeft):  # in order, so that all workers lived
            for worker in WORKERS:
                self.emitters[source].emit(WorkerLeft(worker))
        self.emitters[source].emit(event)

    def die(self, robot: str, how: str = "signal", status: int = -9, victim: str = "") -> None:
        """Let the robot's RQ worker have died, and the fleet have seen it."""
        self.now_ms += 1
        died = {"victim": victim or f"rq:{robot}", "robot": robot, "incarnation": self.life[robot]}
        self.fleet.append({"id": f"{self.now_ms}-0", "row": "death", **died, "how": how, "status": status})

    def injection(self, verb: str, target: str, victim: str) -> None:
        self.now_ms += 1
        self.fleet.append(
            {"id": f"{self.now_ms}-0", "row": "injection", "verb": verb, "target": target, "victim": victim}
        )

    def deal(self) -> None:
        self.put_in_force(self.faults)
        for robot in ROBOTS:
            self.journals[robot].append({"robot": robot, "id": "0-1", "entry": "header", "origin": "dealt"})
        for index, robot in enumerate(ROBOTS):
            part = {"entry": "part", "index": index, "word": WORDS[index], "last": index == 2, "cause": None}
            self.journals[robot].append({"robot": robot, "id": "0-2", **part})

    def put_in_force(self, faults: Sequence[str]) -> None:
        planned = [{"instance": number, "fault": text} for number, text in enumerate(faults)]
        for shard in (0, 1):
            self._control(shard, {"control": "plan", "faults": planned})

    def decide(self) -> None:
        """Give every envelope the fate that it has by all plans: what is still held back has none."""
        book = rulebook(self.plan)
        decided = [row | rule(book, row) for row in self.fates]
        self.fates = [row for row in decided if row["fate"] != "held"]
        copies = Counter(dict.fromkeys(ROBOTS, 0))
        for row in self.fates:
            copies[row["receiver"]] += len(row["deliveries"])
        self.inboxes = dict(copies)

    def born(self, robot: str) -> None:
        self.life[robot] += 1
        self.emitters[robot] = Emitter("abc123", robot, self.life[robot], self, self.take)
        nonce = f"{robot}-{self.life[robot]}"
        held = len(self.known(robot))
        self.journal(robot, "born", nonce=nonce)
        entry = {"id": f"{self.life[robot]}-1", "entry": "born", "nonce": nonce, "at_us": None}
        self.births[robot].append(entry)
        self._control(shard_of(robot), {"control": "born", "robot": robot, "incarnation": self.life[robot]})
        self.sequences = {pair: number for pair, number in self.sequences.items() if pair[0] != robot}
        self.emit(robot, RobotBorn(held, len(self.journals[robot]) - 1))

    def journal(self, robot: str, entry: str, **content: Any) -> None:
        life = self.life[robot]
        number = 1 + sum(row["id"].startswith(f"{life}-") for row in self.journals[robot])
        self.journals[robot].append({"robot": robot, "id": f"{life}-{number}", "entry": entry, **content})

    def known(self, robot: str) -> list[int]:
        return [row["index"] for row in self.journals[robot] if row.get("entry") == "part"]

    def send(self, sender: str, receiver: str, kind: str, incarnation: int | None = None) -> tuple[int, int]:
        """Put one envelope into its outbox; gives its sequence number and how many copies came out."""
        self.now_ms += 2
        sequence = self.sequences[sender, receiver] = self.sequences.get((sender, receiver), 0) + 1
        row = {
            "row": "fate",
            "shard": shard_of(sender),
            "id": f"{self.now_ms}-0",
            "stored": f"{self.now_ms}-0",
            "sender": sender,
            "incarnation": incarnation or self.life[sender],
            "receiver": receiver,
            "sequence": sequence,
            "exchange": "00" * 8,
            "kind": kind,
            "fate": "delivered",
            "faults": [],
            "deliveries": [],
            "body": 10,
            "wire": 60,
        }
        ruling = rule(rulebook(self.plan), row)
        row |= ruling
        self.fates.append(row)
        self.outboxes[str(row["shard"])] += 1
        self.inboxes[receiver] += len(ruling["deliveries"])
        if incarnation is None:
            held, digest = (len(self.known(sender)), digest_of(self.known(sender))) if kind != "update" else (0, "")
            self.emit(sender, MessageSent(receiver, sequence, kind, "00" * 8, 0, 10, 0, held, digest))
        return sequence, len(ruling["deliveries"])

    def teach(self, sender: str, receiver: str) -> None:
        """Send updates until one is delivered, and merge what it brings."""
        copies = 0
        while not copies:
            self.send(sender, receiver, "summary")
            sequence, copies = self.send(sender, receiver, "update")
        cause = [sender, self.life[sender], sequence, copies - 1]
        index = ROBOTS.index(sender)
        self.journal(receiver, "part", index=index, word=WORDS[index], last=index == 2, cause=cause)
        held = len(self.known(receiver))
        self.emit(receiver, PartsMerged(sender, self.life[sender], sequence, copies - 1, (index,), held))
        if held == len(WORDS):
            self.journal(receiver, "complete", at_us=self.wall_us())
            self.emit(receiver, RobotComplete(held))

    def order(self, order: str, at_ms: int, reason: str | None = None) -> None:
        self.now_ms = at_ms
        self.orders.append({"id": f"{at_ms}-0", "order": order, "reason": reason})

    def tick_until(self, end_ms: int) -> None:
        """Let all robots that live execute every tick until then, and report each; of a long time only the last."""
        tick_ms, last_ms = TICK_US // 1000, 3_000
        first = self.now_ms + tick_ms - (self.now_ms - end_ms) % tick_ms
        times = range(first, end_ms + 1, tick_ms)
        skipped = max(0, len(times) - last_ms // tick_ms)
        for place, self.now_ms in enumerate(times[skipped:]):
            for robot in filter(self.life.get, self.life):
                self.emit(robot, TicksExecuted(1 if place else 1 + skipped))

    def attempt(self, robot: str) -> None:
        life = self.life[robot]
        entry = {"id": f"{life}-2", "entry": "attempt", "nonce": f"{robot}-{life}", "at_us": self.wall_us()}
        self.births[robot].append(entry)

    def _control(self, shard: int, content: dict[str, Any]) -> None:
        self.now_ms += 1
        self.plan.append({"shard": shard, "id": f"{self.now_ms}-0", **content})
        self.outboxes[str(shard)] += 1


def shard_of(robot: str) -> int:
    return int(robot[1:]) % 2


def digest_of(indices: list[int]) -> str:
    bitmap = sum(1 << index for index in indices)
    return hashlib.blake2b(bytes([bitmap]) if bitmap else b"", digest_size=8).hexdigest()


def rulebook(plan: list[dict[str, Any]]) -> Rulebook:
    controls = [msgspec.convert(control, PlanRow if control["control"] == "plan" else BornRow) for control in plan]
    return Rulebook(SEED, controls)


def rule(book: Rulebook, row: dict[str, Any]) -> dict[str, Any]:
    """What the row must say of its fate."""
    undecided = msgspec.convert(row | {"fate": "delivered"}, FateRow)
    ruling = book.rule_on(key_of(row["shard"], row["id"]), undecided)
    faults = [{"instance": fault.instance, "fault": fault.text} for fault in ruling.changed]
    return {"fate": ruling.fate, "faults": faults, "deliveries": list(ruling.deliveries)}


def files_of(scribe: Scribe) -> Files:
    secret = "".join(WORDS)
    write = {"id": WRITE_ID, "robot": "r01", "incarnation": 1, "nonce": "r01-1", "text": secret}
    indices = [
        {
            "index": index,
            "holders": [ROBOTS[index]],
            "digest": hashlib.blake2b(f"{index}:{index // 2}:{word}".encode(), key=SALT, digest_size=16).hexdigest(),
        }
        for index, word in enumerate(WORDS)
    ]
    return {
        "settings": {
            "run": "abc123",
            "version": "0.1.0",
            "mode": "live",
            "robots": 3,
            "copies": 1,
            "seed": SEED,
            "preset": "lossy",
            "tick_us": TICK_US,
            "quiet_period_us": 1_000_000,
            "for_us": 0,
            "limit_us": 30_000_000,
            "shards": 2,
            "plan": scribe.faults,
            "instances": list(range(len(scribe.faults))),
            "ended": "complete",
            "again": "robots run --seed 7",
            "seconds": {"born": 0.4, "total": 5.2},
        },
        "deal": {
            "sha256": hashlib.sha256(secret.encode()).hexdigest(),
            "bytes": len(secret.encode()),
            "parts": 3,
            "salt": SALT.hex(),
            "indices": indices,
        },
        "register": {"exists": True, "writes": [write], "births": scribe.births},
        "streams": {
            "outboxes": {shard: {"added": added, "last": "0-0"} for shard, added in scribe.outboxes.items()},
            "inboxes": {robot: {"added": added, "left": 0} for robot, added in scribe.inboxes.items()},
            "contradictions": {},
            "orders": scribe.orders,
        },
        "plan": scribe.plan,
        "fates": scribe.fates,
        "journals": [row for rows in scribe.journals.values() for row in rows],
        "fleet": scribe.fleet,
        "events": scribe.events,
    }
