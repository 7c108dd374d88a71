"""The verdict: an honest record is HELD, and whatever is done to it is found, or left UNPROVEN; it never passes."""

from __future__ import annotations

import ast
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import comb, erfc, sqrt
from pathlib import Path
from typing import Any

import msgspec
import pytest

from telemetry.console import verdict_lines
from telemetry.events import (
    AnyEvent,
    InvariantViolated,
    MessageSent,
    PartsMerged,
    ProcessDied,
    ProcessStarted,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotLeft,
    RobotStarted,
    SecretRefused,
    SecretWritten,
    WorkerCrashed,
    WorkerRestarted,
)
from telemetry.pipeline import Emitter
from telemetry.record.folder import EVIDENCE, Record
from telemetry.verdict import judge as judging
from telemetry.verdict.case import case_of, load
from telemetry.verdict.checks.fault_rates import band, surprise
from telemetry.verdict.evidence.schema import BornRow, FateRow, PlanRow
from telemetry.verdict.evidence.traffic import key_of
from telemetry.verdict.figures import Repeated
from telemetry.verdict.judge import PROMISES, Result, judge
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


# An honest record, made by hand.


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
        self.emitters[source].emit(event)

    def die(self, robot: str, how: str = "signal", status: int = -9, victim: str = "") -> None:
        """Let the robot's RQ worker have died, and the fleet have seen it."""
        self.now_ms += 1
        died = {"victim": victim or f"rq:{robot}", "robot": robot, "incarnation": self.life[robot]}
        self.fleet.append({"id": f"{self.now_ms}-0", "row": "death", **died, "how": how, "status": status})

    def deed(self, text: str, victim: str) -> None:
        self.now_ms += 1
        self.fleet.append({"id": f"{self.now_ms}-0", "row": "deed", "text": text, "victim": victim})

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
        rulings = [(row, rule(book, row)) for row in self.fates]
        self.fates = [row | {"fate": fate, "deliveries": list(due)} for row, (fate, due) in rulings if fate != "held"]
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
        return [row["index"] for row in self.journals[robot] if row["entry"] == "part"]

    def send(self, sender: str, receiver: str, kind: str, incarnation: int | None = None) -> tuple[int, int]:
        """Put one envelope into its outbox; gives its sequence number and how many copies came out."""
        self.now_ms += 2
        sequence = self.sequences[sender, receiver] = self.sequences.get((sender, receiver), 0) + 1
        row = {
            "shard": shard_of(sender),
            "id": f"{self.now_ms}-0",
            "sender": sender,
            "incarnation": incarnation or self.life[sender],
            "receiver": receiver,
            "sequence": sequence,
            "exchange": "00" * 8,
            "kind": kind,
            "fate": "delivered",
            "deliveries": [],
            "body": 10,
            "wire": 60,
        }
        ruling = rule(rulebook(self.plan), row)
        row |= {"fate": ruling[0], "deliveries": list(ruling[1])}
        self.fates.append(row)
        self.outboxes[str(row["shard"])] += 1
        self.inboxes[receiver] += len(ruling[1])
        if incarnation is None:
            held, digest = (len(self.known(sender)), digest_of(self.known(sender))) if kind == "summary" else (0, "")
            self.emit(sender, MessageSent(receiver, sequence, kind, "00" * 8, 0, 10, held, digest))
        return sequence, len(ruling[1])

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
        self.emit(receiver, PartsMerged(sender, self.life[sender], sequence, copies - 1, 1, held))
        if held == len(WORDS):
            self.journal(receiver, "complete", at_us=self.wall_us())
            self.emit(receiver, RobotComplete(held))

    def order(self, order: str, at_ms: int, reason: str | None = None) -> None:
        self.now_ms = at_ms
        self.orders.append({"id": f"{at_ms}-0", "order": order, "reason": reason})

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


def rule(book: Rulebook, row: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    undecided = msgspec.convert(row | {"fate": "delivered"}, FateRow)
    ruling = book.rule_on(key_of(row["shard"], row["id"]), undecided)
    return ruling.fate, ruling.deliveries


def honest() -> tuple[Files, bytes]:
    """The files of an honest record, and the secret."""
    scribe = Scribe()
    scribe.deal()
    for robot in ROBOTS:
        scribe.born(robot)
    scribe.order("go", GO_MS)
    for robot in ROBOTS:
        scribe.emit(robot, RobotStarted())
    scribe.teach("r00", "r02")
    scribe.emit("lab", ProcessDied("rq:r02", 4711, -9))
    scribe.die("r02", "lease", 0)
    scribe.now_ms += 80
    scribe.born("r02")
    scribe.send("r02", "r00", "summary", incarnation=1)  # a zombie's: stale
    scribe.sequences.pop(("r02", "r00"))
    for sender, receiver in (("r00", "r01"), ("r02", "r01"), ("r01", "r00"), ("r02", "r00"), ("r01", "r02")):
        scribe.teach(sender, receiver)
    scribe.now_ms = GO_MS + 1_500
    scribe.journal("r01", "quiet", ticks=10, exchange="00" * 8, at_us=scribe.wall_us())
    scribe.attempt("r01")
    scribe.emit("r01", SecretWritten(len("".join(WORDS).encode()), "aof"))
    scribe.now_ms += 1
    scribe.journal("r00", "quiet", ticks=11, exchange="00" * 8, at_us=scribe.wall_us())
    scribe.attempt("r00")
    scribe.order("stop", STOP_MS, "complete")
    for robot in ROBOTS:
        scribe.emit(robot, RobotLeft("complete"))
    return files_of(scribe), "".join(WORDS).encode()


def files_of(scribe: Scribe) -> Files:
    secret = "".join(WORDS)
    write = {"robot": "r01", "incarnation": 1, "nonce": "r01-1", "text": secret}
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
            "plan": PLAN,
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
        "register": {"exists": True, "write": write, "births": scribe.births},
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


@pytest.fixture
def files() -> Files:
    return honest()[0]


SECRET = honest()[1]


def verdict_on(files: Files, secret: bytes | None = SECRET) -> Result:
    return judge(case_of("runs/abc123", files, secret))


def put(folder: Path, files: Files, secret: bytes | None = SECRET) -> Path:
    """The record of `files` in `folder`, sealed."""
    folder.mkdir(exist_ok=True)
    record = Record(folder)
    for name, content in files.items():
        if name in ROW_FILES:
            record.write_rows(name, content)
        else:
            record.write(name, content)
    if secret is not None:
        record.write_bytes("secret.txt", secret)
    record.seal()
    return folder


def rows(files: Files, file: str, **fields: Any) -> list[dict[str, Any]]:
    return [row for row in files[file] if all(row.get(key) == value for key, value in fields.items())]


def named(files: Files, name: str, source: str | None = None) -> list[dict[str, Any]]:
    return [row for row in files["events"] if row["event"]["name"] == name and source in (None, row["source"])]


def renumber(files: Files, robot: str) -> None:
    """Number the entries of a journal anew, so that only their content speaks."""
    numbers: dict[str, int] = {}
    for row in rows(files, "journals", robot=robot):
        life = row["id"].partition("-")[0]
        numbers[life] = numbers.get(life, 0) + 1
        row["id"] = f"{life}-{numbers[life]}"


def insert_event(files: Files, source: str, life: int, event: AnyEvent, at_us: int) -> None:
    """Let a source have seen `event` just before its last one."""
    own = [row for row in files["events"] if (row["source"], row["incarnation"]) == (source, life)]
    last = max(own, key=lambda row: row["number"])
    added = {**last, "monotonic_us": at_us, "event": msgspec.to_builtins(event)}
    last["number"] += 1
    files["events"].insert(files["events"].index(last), added)


# Honest records.


def test_an_honest_record_is_held(files: Files) -> None:
    # Given a record in which a robot was killed and came back, and an older life's envelope went stale
    assert rows(files, "fates", fate="stale")
    assert any(not row["deliveries"] and row["fate"] == "delivered" for row in files["fates"])
    assert any(len(row["deliveries"]) > 1 for row in files["fates"])
    # When it is judged
    result = verdict_on(files)
    # Then every promise is HELD, in the order of the result's schema
    assert {name: promise.state for name, promise in result.promises.items()} == dict.fromkeys(PROMISES, "HELD")
    assert (result.verdict, result.exit_code) == ("HELD", 0)
    assert "tail of r02/1" in result.promises["monotonic"].why
    assert "refused: 1" in result.promises["once"].why


def test_a_record_on_disk_and_one_in_memory_are_judged_alike(files: Files, tmp_path: Path) -> None:
    # Given the same evidence as a folder and as values
    folder = put(tmp_path / "abc123", files)
    # When both are judged
    from_disk, from_memory = judge(load(folder, "runs/abc123")), verdict_on(files)
    # Then the results are equal, and the folder's own name is used when none is given
    assert from_disk.json == from_memory.json
    assert judge(load(folder)).record == str(folder)


def test_the_result_has_exactly_the_keys_of_its_schema(files: Files) -> None:
    result = verdict_on(files).json
    assert " ".join(result) == (
        "schema version run verdict promises ended robots parts seed preset plan winner winner_incarnation seconds "
        "rounds messages model_bytes_per_robot wire_bytes_per_robot faults repeated restarts recoveries lives joined "
        "record again"
    )
    assert list(result["promises"]) == [
        *("once", "right", "monotonic", "unique", "idempotent", "patient", "convergent", "supervised", "fenced"),
        *("honest faults", "accounted"),
    ]
    assert list(result["promises"]["once"]) == ["state", "why"]
    assert list(result["seconds"]) == ["born", "first_complete", "written", "all_complete", "total"]
    assert list(result["rounds"]) == ["first_complete", "all_complete"]
    assert (
        " ".join(result["messages"]) == "sent delivered lost duplicated delayed reordered corrupted per_robot refused"
    )
    assert " ".join(result["faults"][0]) == "name set offered injected rate band state"
    assert " ".join(result["repeated"]) == "redone copies"
    assert " ".join(result["recoveries"]) == "count p50_s max_s"
    assert json.dumps(json.loads(json.dumps(result))) == json.dumps(result)


def test_the_figures_are_those_of_the_record(files: Files) -> None:
    # Given what the record says by itself
    envelopes = [row for row in files["fates"] if int(row["id"].split("-")[0]) >= GO_MS]
    completed = [row["at_us"] for row in rows(files, "journals", entry="complete")]
    until = [row for row in envelopes if int(row["id"].split("-")[0]) * 1000 <= max(completed)]
    # When it is judged
    result = verdict_on(files).json
    # Then the figures agree
    assert result["seconds"] == {
        "born": 0.4,
        "first_complete": (min(completed) - GO_MS * 1000) / 1e6,
        "written": 1.5,
        "all_complete": (max(completed) - GO_MS * 1000) / 1e6,
        "total": 5.2,
    }
    assert result["rounds"]["all_complete"] == round((max(completed) - GO_MS * 1000) / TICK_US, 1)
    assert result["messages"]["sent"] == len(until)
    assert result["messages"]["delivered"] == sum(bool(row["deliveries"]) for row in until)
    assert result["messages"]["lost"] == sum(row["fate"] == "delivered" and not row["deliveries"] for row in until)
    assert result["messages"]["duplicated"] == sum(len(row["deliveries"]) > 1 for row in until)
    assert result["messages"]["reordered"] == sum(
        any(us >= 15_000 + 10_000 for us in row["deliveries"]) for row in until
    )
    assert result["messages"]["per_robot"] == round(len(until) / 3, 1)
    assert result["model_bytes_per_robot"] == round(len(until) * 58 / 3, 1)
    assert result["wire_bytes_per_robot"] == round(len(until) * 60 / 3, 1)
    assert (result["winner"], result["winner_incarnation"], result["restarts"]) == ("r01", 1, 1)
    loss = result["faults"][0]
    ruled = [row for row in files["fates"] if row["fate"] == "delivered"]
    assert (loss["name"], loss["set"], loss["offered"]) == ("loss", "0.2", len(ruled))
    assert loss["injected"] == sum(not row["deliveries"] for row in ruled)
    assert loss["rate"] == round(loss["injected"] / loss["offered"], 4)


def test_a_robot_that_was_dealt_everything_is_complete_at_once(files: Files) -> None:
    # Given a run of one robot that was dealt the whole secret, and never had to say "complete"
    files["settings"] |= {"robots": 1}
    for part in files["deal"]["indices"]:
        part["holders"] = ["r00"]
    files["plan"] = [row for row in files["plan"] if row.get("robot") in (None, "r00")]
    files["register"]["births"] = {"r00": files["register"]["births"]["r00"]}
    content = [{"entry": "header", "origin": "dealt"}]
    content += [
        {"entry": "part", "index": index, "word": word, "last": index == 2, "cause": None}
        for index, word in enumerate(WORDS)
    ]
    dealt = [{"robot": "r00", "id": f"0-{number}", **entry} for number, entry in enumerate(content, start=1)]
    life = [{"entry": "born", "nonce": "r00-1"}, {"entry": "quiet", "ticks": 10, "at_us": (GO_MS + 1500) * 1000}]
    files["journals"] = dealt + [{"robot": "r00", "id": f"1-{n}", **entry} for n, entry in enumerate(life, start=1)]
    files["register"]["write"] |= {"robot": "r00", "nonce": "r00-1"}
    # When it is judged
    result = verdict_on(files)
    # Then it was complete at `go`, and patient
    assert (result.seconds.first_complete, result.seconds.all_complete) == (0, 0)
    assert result.promises["patient"].state == "HELD"
    assert result.promises["convergent"].state == "HELD"


# Fates, recomputed; that broker and judge agree on them is shown in test_second_opinion.py.


CROWDED = ["duplicate 0.5 x3", "delay 5ms..20ms"]
KINDS = {
    "partition": ["partition r00|r01", *CROWDED],
    "partition, held": ["partition hold r00|r01", "loss 0.1", *CROWDED],
    "burst-loss": ["burst-loss 0.4 3", *CROWDED],
    "loss": ["loss 0.4 r01", *CROWDED],
    "duplicate": ["duplicate 0.4 x4"],
    "delay, constant": ["delay 20ms", "duplicate 0.4"],
    "delay, uniform": ["delay 5ms..20ms", "duplicate 0.4"],
    "delay, lognormal": ["delay 20ms~0.5", "duplicate 0.4"],
    "reorder": ["reorder 0.4", "duplicate 0.4"],
    "corrupt": ["corrupt 0.4 r00,r02|r01", *CROWDED],
    "throttle": ["throttle 1/s", "loss 0.2", *CROWDED],
    "throttle, held": ["throttle 1/s", "partition hold r00..r02>r00..r02", *CROWDED],
    "all": ["partition r00>r01", "burst-loss 0.2 2", "loss 0.1", *CROWDED, "reorder 0.2", "corrupt 0.2"],
}
PAIRS = [(sender, receiver) for sender in ROBOTS for receiver in ROBOTS if sender != receiver]


def sent_under(faults: Sequence[str], envelopes: int = 48, healed: bool = True) -> Files:
    """The files of a record in which robots sent envelopes under `faults`, which ended when the run did."""
    scribe = Scribe(faults)
    scribe.deal()
    for robot in ROBOTS:
        scribe.born(robot)
    scribe.order("go", GO_MS)
    for number in range(envelopes):
        scribe.send(*PAIRS[number % len(PAIRS)], "answer")
    scribe.order("stop", STOP_MS, "complete")
    if healed:
        scribe.put_in_force([])
    scribe.decide()
    return files_of(scribe)


def states(files: Files) -> tuple[str, str]:
    promises = verdict_on(files).promises
    return promises["honest faults"].state, promises["accounted"].state


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_network_is_held_whatever_the_faults(kind: str) -> None:
    # Given envelopes under faults, with all that they can come to
    files = sent_under(KINDS[kind])
    assert any(len(row["deliveries"]) > 1 for row in files["fates"])
    assert any(len(row["deliveries"]) < 2 for row in files["fates"])
    # When they are judged, then they are HELD, and every fault was offered some
    assert states(files) == ("HELD", "HELD")
    for figure in verdict_on(files).faults:
        assert figure.state == "HELD"
        assert figure.injected > 0 or figure.name == "throttle"


def sooner(row: dict[str, Any]) -> None:
    row["deliveries"][0] -= 1


def later_by_one_copy(row: dict[str, Any]) -> None:
    row["deliveries"][-1] += 1
    assert len(row["deliveries"]) > 1, "a throttle may delay a single copy"


def a_copy_more(row: dict[str, Any]) -> None:
    row["deliveries"].append(row["deliveries"][-1] if row["deliveries"] else 0)


def a_copy_less(row: dict[str, Any]) -> None:
    row["deliveries"].pop()


def another_state(row: dict[str, Any]) -> None:
    row["fate"] = "delivered" if row["fate"] == "corrupt" else "corrupt"


def stale(row: dict[str, Any]) -> None:
    row["fate"] = "stale"


@pytest.mark.parametrize("alter", [sooner, later_by_one_copy, a_copy_more, a_copy_less, another_state, stale])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fate_that_is_altered_by_one_detail_is_broken(kind: str, alter: Callable[[dict[str, Any]], None]) -> None:
    # Given an honest record, and in it a fate of each size
    files = sent_under(KINDS[kind])
    for copies in (2, 1, 0) if alter in (a_copy_more, another_state, stale) else (2,):
        place = next((at for at, row in enumerate(files["fates"]) if min(2, len(row["deliveries"])) == copies), None)
        if place is not None:
            row = {**files["fates"][place], "deliveries": list(files["fates"][place]["deliveries"])}
            # When one detail of it is altered
            alter(row)
            altered = files | {"fates": [*files["fates"][:place], row, *files["fates"][place + 1 :]]}
            # Then it is BROKEN, and so is a fault that met it
            result = verdict_on(altered)
            assert result.promises["honest faults"].state == "BROKEN", (copies, row)
            assert "BROKEN" in {figure.state for figure in result.faults}


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_throttle_may_delay_all_copies_further(kind: str) -> None:
    # Given an honest record, and an envelope in it of two copies or more
    files = sent_under(KINDS[kind])
    row = next(row for row in files["fates"] if len(row["deliveries"]) > 1)
    row["deliveries"] = [due + 1_000 for due in row["deliveries"]]
    # When all its copies are a millisecond later, then that is honest under a throttle, and only there
    result = verdict_on(files)
    assert result.promises["honest faults"].state == ("HELD" if "throttle" in kind else "BROKEN")
    if "throttle" in kind:
        assert [(fault.injected, fault.band) for fault in result.faults if fault.name == "throttle"] == [(1, None)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_relay_that_decides_again_may_throttle_otherwise_and_nothing_else(kind: str) -> None:
    # Given an entry of two copies or more that was redone
    files = sent_under(KINDS[kind])
    row = next(row for row in files["fates"] if len(row["deliveries"]) > 1)
    files["fates"].append({"shard": row["shard"], "redo": [row["id"]]})
    again = {**row, "deliveries": [due + 70_000 for due in row["deliveries"]]}
    state = "HELD" if "throttle" in kind else "BROKEN"
    # When its other record has all copies later, or sooner than the first, then a throttle may have done it
    assert states(files | {"fates": [*files["fates"], again]}) == (state, state)
    assert states(files | {"fates": [again, *files["fates"]]}) == (state, state)
    # But a throttle alters no state, and no copy by itself
    for damage in (another_state, a_copy_less, later_by_one_copy):
        other = {**row, "deliveries": list(row["deliveries"])}
        damage(other)
        assert states(files | {"fates": [*files["fates"], other]}) == ("BROKEN", "BROKEN"), damage
    early = {**row, "deliveries": [due - 1 for due in row["deliveries"]]}
    assert states(files | {"fates": [*files["fates"], early]})[0] == "BROKEN"


def test_what_is_held_back_for_ever_has_no_fate_and_convicts_nobody() -> None:
    # Given a record that ends while a partition holds envelopes between r00 and r01 back
    files = sent_under(["partition hold r00|r01"], healed=False)
    assert not rows(files, "fates", sender="r00", receiver="r01")
    # When it is judged
    result = verdict_on(files)
    # Then their missing fates are explained, and not taken for granted
    assert result.promises["honest faults"].state == "HELD"
    assert result.promises["accounted"].state == "UNPROVEN"
    assert "partition hold r00|r01 held envelopes back" in result.promises["accounted"].why
    # But a fate that is there all the same is dishonest, and one that is missing elsewhere is missed
    other = rows(files, "fates", sender="r00", receiver="r02")[0]
    invented = {**other, "receiver": "r01", "id": f"{GO_MS + 900}-0"}
    told = verdict_on(files | {"fates": [*files["fates"], invented]}).promises["honest faults"]
    assert (told.state, "its dice say held" in told.why) == ("BROKEN", True)
    drop(files, "fates", other)
    finding = verdict_on(files).promises["accounted"]
    assert (finding.state, "r00/1's envelope" in finding.why) == ("BROKEN", True)


def test_a_damaged_envelope_teaches_nobody(files: Files) -> None:
    # Given a part that came with an envelope
    sender, life, sequence, _ = journal_part(files, "r00", 1)["cause"]
    row = rows(files, "fates", sender=sender, incarnation=life, receiver="r00", sequence=sequence)[0]
    assert verdict_on(files).promises["idempotent"].state == "HELD"
    # When that was recorded as corrupt, then nothing can have been merged from it
    row["fate"] = "corrupt"
    finding = verdict_on(files).promises["idempotent"]
    assert (finding.state, "never came undamaged" in finding.why) == ("BROKEN", True)


def test_an_envelope_that_somebody_puts_there_again_takes_nothing_back(files: Files) -> None:
    # Given a part that came with an envelope, which stands in its outbox once more, and was lost then
    sender, life, sequence, _ = journal_part(files, "r00", 1)["cause"]
    row = rows(files, "fates", sender=sender, incarnation=life, receiver="r00", sequence=sequence)[0]
    files["fates"].append({**row, "id": f"{STOP_MS}-5", "deliveries": []})
    # When it is judged, then the part came all the same
    assert verdict_on(files).promises["idempotent"].state == "HELD"


def test_the_figures_show_rates_with_their_bands() -> None:
    # Given a record with faults of all kinds
    files = sent_under(
        ["loss 0.2 r00>r01", "burst-loss 0.3 5", "duplicate 0.3 x3", "corrupt 0.2", "partition r09"], envelopes=300
    )
    # When it is judged
    result = verdict_on(files)
    figures = {figure.name: figure for figure in result.faults}
    # Then each fault was offered what its target selects and the ones before it left
    lost_in_bursts = figures["burst-loss"].injected
    assert figures["burst-loss"].offered == 300
    assert figures["loss"].offered < 300 / len(PAIRS) + 1
    assert figures["duplicate"].offered == 300 - lost_in_bursts - figures["loss"].injected
    assert figures["partition"].state == "UNPROVEN"
    assert (figures["partition"].rate, figures["partition"].band) == (None, None)
    # And rates lie in their bands, which are wider where envelopes share their fates
    for name in ("loss", "burst-loss", "duplicate", "corrupt"):
        figure = figures[name]
        assert figure.band is not None
        assert figure.rate == round(figure.injected / figure.offered, 4)
        assert figure.band[0] < figure.rate < figure.band[1]
    loss = figures["burst-loss"]
    assert loss.band is not None
    assert loss.band[1] - loss.band[0] > 2 * (2 * 1.96) * (0.3 * 0.7 / 300) ** 0.5
    # And so people read it
    lines = list(verdict_lines(result.json))
    came = [row for row in files["fates"] if row["deliveries"]]
    assert result.messages.corrupted == figures["corrupt"].injected == sum(row["fate"] == "corrupt" for row in came)
    assert result.messages.delivered == len(came) - figures["corrupt"].injected
    assert any(f"corrupted {result.messages.corrupted}" in line for line in lines)
    low, high = figures["corrupt"].band or (0, 0)
    shown = f"corrupt 0.2 acted on {figures['corrupt'].injected} of {figures['corrupt'].offered}"
    assert any(shown in line and f"95% band {low:.1%}..{high:.1%})" in line for line in lines)


@pytest.mark.parametrize("fault", ["loss 0.2", "duplicate 0.2", "reorder 0.2", "corrupt 0.2"])
def test_a_rate_beyond_chance_is_broken_although_every_fate_is_right(fault: str) -> None:
    # Given a record of which only those envelopes remain that the fault struck, each with its right fate
    files = sent_under([fault], envelopes=400)
    chosen = [row for row in files["fates"] if (row["fate"], row["deliveries"]) != ("delivered", [0])]
    assert 40 < len(chosen) < 160
    files["fates"] = chosen
    # When it is judged
    result = verdict_on(files)
    # Then chance does not explain it
    finding = result.promises["honest faults"]
    assert finding.state == "BROKEN"
    assert f"{fault!r} acted on {len(chosen)} of {len(chosen)} envelopes" in finding.why
    assert "(witness: fault 0)" in finding.why
    assert result.faults[0].state == "BROKEN"
    # But a single envelope that somebody put there again and again tells nothing
    files["fates"] = [{**chosen[0], "id": f"{GO_MS + 1000 + number}-0"} for number in range(400)]
    assert verdict_on(files).promises["honest faults"].state == "HELD"


def test_a_reorder_is_counted_by_first_copies_and_told_by_any() -> None:
    # Given envelopes of two copies each, of which any may be put back
    files = sent_under(["duplicate 1", "reorder 0.3"], envelopes=120)
    result = verdict_on(files)
    # Then the rate is that of the first copies, and messages tell of all that overtook each other
    assert result.faults[1].injected == sum(row["deliveries"][0] > 0 for row in files["fates"])
    assert result.messages.reordered == sum(any(row["deliveries"]) for row in files["fates"])
    assert (result.messages.reordered or 0) > result.faults[1].injected


# Rates.


@pytest.mark.parametrize(
    ("hits", "trials", "expected"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_bands_are_those_of_the_literature(hits: int, trials: int, expected: tuple[float, float]) -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, the score method without correction
    low, high = band(hits, trials)
    assert (round(low, 4), round(high, 4)) == expected


def test_a_band_of_dependent_trials_is_that_of_fewer_independent_ones() -> None:
    assert band(300, 1000, 10.0) == pytest.approx(band(30, 100))
    assert band(500, 1000, 0.0) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("hits", "trials", "p", "expected"),
    [
        (682, 925, 0.75, 0.3825),
        (0, 0, 0.3, 1.0),
        (0, 9, 0.0, 1.0),
        (1, 9, 0.0, 0.0),
        (9, 9, 1.0, 1.0),
        (8, 9, 1.0, 0.0),
    ],
)
def test_surprises_are_those_of_the_literature(hits: int, trials: int, p: float, expected: float) -> None:
    # The first is the example of R's binom.test: peas of Mendel
    assert surprise(hits, trials, p) == pytest.approx(expected, abs=5e-5)


def test_surprises_are_exact() -> None:
    # Given every outcome of some numbers of throws
    for trials in (1, 2, 7, 40):
        for p in (Fraction(1, 10), Fraction(1, 3), Fraction(1, 2), Fraction(9, 10)):
            chances = [comb(trials, hits) * p**hits * (1 - p) ** (trials - hits) for hits in range(trials + 1)]
            for hits, seen in enumerate(chances):
                # Then the surprise is the sum of all that are no likelier
                exact = sum(chance for chance in chances if chance <= seen)
                assert surprise(hits, trials, float(p)) == pytest.approx(float(exact), rel=1e-6)


def test_surprises_of_many_throws_are_those_of_the_normal_law() -> None:
    for deviations in (0.0, 1.0, 3.0, 6.0, 8.0):
        for sign in (1, -1):
            hits = 500_000 + sign * int(deviations * 500)
            expected = erfc(max(0.0, abs(hits - 500_000) - 0.5) / 500 / sqrt(2))
            assert surprise(hits, 1_000_000, 0.5) == pytest.approx(expected, rel=2e-3)
    assert surprise(0, 1_000_000, 0.5) == 0.0
    assert surprise(1_000_000, 1_000_000, 1e-6) == 0.0


def test_a_fault_that_the_judge_does_not_know_leaves_faults_unproven(files: Files) -> None:
    files["plan"][0]["faults"][0]["fault"] = "gremlins 0.2"
    result = verdict_on(files)
    assert result.promises["honest faults"].state == "UNPROVEN"
    assert "gremlins" in result.promises["honest faults"].why
    assert result.verdict == "UNPROVEN"


# Broken promises, each with its witness.

Damage = Callable[[Files], Any]


def journal_part(files: Files, robot: str, index: int) -> dict[str, Any]:
    return rows(files, "journals", robot=robot, index=index)[0]


def drop(files: Files, file: str, row: dict[str, Any]) -> None:
    files[file].remove(row)


def claim_a_second_write(files: Files) -> None:
    insert_event(files, "r00", 1, SecretWritten(19, "aof"), STOP_MS)


def write_without_attempt(files: Files) -> None:
    files["register"]["write"]["nonce"] = "another"


def write_as_another_life(files: Files) -> None:
    files["register"]["write"]["incarnation"] = 2


def merge_again(files: Files) -> None:
    part = journal_part(files, "r00", 1)
    files["journals"].insert(files["journals"].index(part) + 1, dict(part))
    renumber(files, "r00")


def merge_another_copy(files: Files) -> None:
    part = journal_part(files, "r00", 1)
    twin = {**part, "cause": [*part["cause"][:3], part["cause"][3] + 1]}
    files["journals"].insert(files["journals"].index(part) + 1, twin)
    renumber(files, "r00")


def know_two_words(files: Files) -> None:
    part = journal_part(files, "r00", 1)
    files["journals"].insert(files["journals"].index(part) + 1, {**part, "word": "other "})
    renumber(files, "r00")


def forget_being_born(files: Files) -> None:
    drop(files, "journals", rows(files, "journals", robot="r02", entry="born")[1])


def lose_a_dealt_part(files: Files) -> None:
    drop(files, "journals", journal_part(files, "r02", 2))
    renumber(files, "r02")


def hold_what_was_not_dealt(files: Files) -> None:
    header = rows(files, "journals", robot="r00", entry="header")[0]
    part = {"robot": "r00", "entry": "part", "index": 1, "word": WORDS[1], "last": False, "cause": None, "id": "0-3"}
    files["journals"].insert(files["journals"].index(header) + 2, part)


def show_more_than_is_held(files: Files) -> None:
    first = next(row for row in named(files, "message.sent", "r00") if row["event"]["kind"] == "summary")
    first["event"] |= {"held": 3, "digest": digest_of([0, 1, 2]), "kind": "summary"}
    files["journals"] = [row for row in files["journals"] if row["robot"] != "r00" or row.get("index") != 2]
    renumber(files, "r00")


def show_other_parts(files: Files) -> None:
    first = next(row for row in named(files, "message.sent", "r00") if row["event"]["kind"] == "summary")
    first["event"]["digest"] = digest_of([2])


def show_what_the_next_life_knows(files: Files) -> None:
    summary = next(row for row in named(files, "message.sent", "r02") if row["incarnation"] == 2)
    assert summary["event"]["kind"] == "summary"
    summary["event"] |= {"held": 1, "digest": digest_of([2])}


def swallow_a_contradiction(files: Files) -> None:
    insert_event(files, "r00", 1, InvariantViolated("unique", "", 0, "r01", 1, 1, 0), 300_000)


def two_ends(files: Files) -> None:
    part = journal_part(files, "r00", 1)
    part["last"] = True


def swallow_a_crash(files: Files) -> None:
    insert_event(files, "r00", 1, WorkerCrashed("inbox_reader", "KeyError: 3"), 300_000)


def cite(files: Files, **cause: Any) -> None:
    part = journal_part(files, "r00", 1)
    sender, life, sequence, copy = part["cause"]
    named_cause = {"sender": sender, "life": life, "sequence": sequence, "copy": copy} | cause
    part["cause"] = list(named_cause.values())


def quiet_of(files: Files) -> dict[str, Any]:
    return rows(files, "journals", robot="r01", entry="quiet")[0]


def shift_clock(files: Files, robot: str, by_us: int) -> None:
    """Let the robot's own clock have been so much ahead of the server's."""
    for row in files["journals"]:
        if row["robot"] == robot and "at_us" in row:
            row["at_us"] += by_us


def write_without_quiet(files: Files) -> None:
    drop(files, "journals", quiet_of(files))


def merge_while_waiting(files: Files) -> None:
    part = journal_part(files, "r01", 2)
    drop(files, "journals", part)
    files["journals"].insert(files["journals"].index(quiet_of(files)), part)
    renumber(files, "r01")


def try_without_quiet(files: Files) -> None:
    drop(files, "journals", rows(files, "journals", robot="r00", entry="quiet")[0])


def wait_incomplete(files: Files) -> None:
    drop(files, "journals", journal_part(files, "r01", 2))
    renumber(files, "r01")


def rush(files: Files) -> None:
    complete = rows(files, "journals", robot="r01", entry="complete")[0]
    complete["at_us"] = quiet_of(files)["at_us"] - 100_000


def remain_incomplete(files: Files) -> None:
    drop(files, "journals", journal_part(files, "r00", 1))
    drop(files, "journals", rows(files, "journals", robot="r00", entry="complete")[0])
    renumber(files, "r00")


def one(files: Files, copies: int) -> dict[str, Any]:
    return next(row for row in files["fates"] if row["fate"] == "delivered" and len(row["deliveries"]) == copies)


def deliver_what_was_lost(files: Files) -> None:
    one(files, 0)["deliveries"] = [6_000]


def deliver_later(files: Files) -> None:
    one(files, 1)["deliveries"][0] += 1


def deliver_the_stale(files: Files) -> None:
    rows(files, "fates", fate="stale")[0] |= {"fate": "delivered", "deliveries": [6_000]}


def decide_twice(files: Files) -> None:
    row = one(files, 1)
    files["fates"].append({**row, "deliveries": []})


def refuse_an_envelope(files: Files) -> None:
    one(files, 1)["fate"] = "refused"


REFUSED = dict.fromkeys(("sender", "incarnation", "receiver", "sequence", "exchange", "kind")) | {
    "fate": "refused",
    "deliveries": [],
    "body": 0,
}


def refuse_as_garbage(files: Files, copies: int = 1) -> None:
    one(files, copies).update(REFUSED)


def lose_a_fate(files: Files) -> None:
    drop(files, "fates", one(files, 0))


def invent_a_fate(files: Files) -> None:
    files["fates"].append({**rows(files, "fates", fate="stale")[0], "id": f"{GO_MS + 3000}-0", "sequence": 99})


def lose_a_control(files: Files) -> None:
    drop(files, "plan", files["plan"][-1])


def count_one(files: Files, robot: str, more: int) -> None:
    files["streams"]["inboxes"][robot]["added"] += more


BREACHES: dict[str, tuple[str, Damage, str]] = {
    "a second life claims an accepted write": ("once", claim_a_second_write, "r00/1"),
    "the write was never attempted": ("once", write_without_attempt, "birth stream of r01"),
    "the write is another life's": ("once", write_as_another_life, "birth stream of r01"),
    "a wrong text of the right length": ("right", lambda f: f["register"]["write"].update(text="X" * 19), "r01/1"),
    "a longer text": ("right", lambda f: f["register"]["write"].update(text="".join(WORDS) + "!"), "r01/1"),
    "a forgotten part": ("monotonic", lambda f: drop(f, "journals", journal_part(f, "r00", 1)), "journal of r00"),
    "a birth that left no trace": ("monotonic", forget_being_born, "journal of r02"),
    "a dealt part that is not held": ("monotonic", lose_a_dealt_part, "journal of r02"),
    "a dealt part of nobody": ("monotonic", hold_what_was_not_dealt, "journal of r00"),
    "a dealt word that was changed": (
        "monotonic",
        lambda f: journal_part(f, "r00", 0).update(word="Zwei  "),
        "journal of r00, entry 0-2",
    ),
    "an index that becomes another word": ("monotonic", know_two_words, "journal of r00"),
    "a summary of more than is held": ("monotonic", show_more_than_is_held, "of r00/1"),
    "a merge that was told and not journalled": ("monotonic", wait_incomplete, "of r01/1"),
    "a completion that was not journalled": (
        "monotonic",
        lambda f: drop(f, "journals", rows(f, "journals", robot="r02", entry="complete")[0]),
        "of r02/2",
    ),
    "a summary of other parts": ("monotonic", show_other_parts, "of r00/1"),
    "a summary of less than at birth": ("monotonic", show_what_the_next_life_knows, "of r02/2"),
    "a changed word": ("unique", lambda f: journal_part(f, "r00", 1).update(word="other "), "journal of r00"),
    "two words of one index": ("unique", know_two_words, "journal of r00"),
    "a part behind the last": ("unique", two_ends, "journal of r00"),
    "a contradiction without a restart": ("unique", swallow_a_contradiction, "of r00/1"),
    "a part that was merged again": ("idempotent", merge_again, "journal of r00"),
    "a second copy that was merged again": ("idempotent", merge_another_copy, "journal of r00"),
    "a part of an unknown envelope": ("idempotent", lambda f: cite(f, sequence=999), "journal of r00"),
    "a part of a copy that never was": ("idempotent", lambda f: cite(f, copy=7), "journal of r00"),
    "a part of a negative copy": ("idempotent", lambda f: cite(f, copy=-1), "journal of r00"),
    "a part of somebody else's envelope": ("idempotent", lambda f: cite(f, life=3), "journal of r00"),
    "a part that nothing brought": (
        "idempotent",
        lambda f: journal_part(f, "r00", 1).update(cause=None),
        "journal of r00",
    ),
    "a write without quiet": ("patient", write_without_quiet, "journal of r01"),
    "too few quiet ticks": ("patient", lambda f: quiet_of(f).update(ticks=9), "journal of r01"),
    "a part while waiting": ("patient", merge_while_waiting, "journal of r01"),
    "waiting before being complete": ("patient", wait_incomplete, "journal of r01"),
    "a refused try without quiet": ("patient", try_without_quiet, "journal of r00, life 1"),
    "a robot that had time and is not complete": ("convergent", remain_incomplete, "journal of r00"),
    "a crash without a restart": ("supervised", swallow_a_crash, "of r00/1"),
    "an older life's envelope that was let through": ("fenced", deliver_the_stale, "outbox 0"),
    "a lost envelope that came": ("honest faults", deliver_what_was_lost, "outbox"),
    "a copy that is too late": ("honest faults", deliver_later, "outbox"),
    "an older life's envelope that came": ("honest faults", deliver_the_stale, "outbox"),
    "an entry of two fates": ("honest faults", decide_twice, "outbox"),
    "an envelope taken for garbage": ("honest faults", refuse_an_envelope, "outbox"),
    "an envelope dropped as garbage": ("honest faults", refuse_as_garbage, "outbox"),
    "a lost envelope dropped as garbage": ("honest faults", lambda f: refuse_as_garbage(f, 0), "outbox"),
    "an entry with unequal records": ("accounted", decide_twice, "outbox"),
    "a fate that is missing": ("accounted", lose_a_fate, "envelope"),
    "a control entry that is missing": ("accounted", lose_a_control, "outbox 0"),
    "a fate of no entry": ("accounted", invent_a_fate, "outbox 0"),
    "a copy too many": ("accounted", lambda f: count_one(f, "r01", 1), "inbox of r01"),
    "a copy that vanished": ("accounted", lambda f: count_one(f, "r01", -1), "inbox of r01"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    # Given an honest record, and one thing in it that breaks a promise
    promise, damage, witness = BREACHES[breach]
    damage(files)
    # When it is judged
    result = verdict_on(files)
    # Then that promise is BROKEN, and the witness can be looked up
    finding = result.promises[promise]
    assert finding.state == "BROKEN", finding.why
    assert witness in finding.why.partition("(witness: ")[2]
    assert (result.verdict, result.exit_code) == ("BROKEN", 1)


def test_every_promise_has_a_breach_that_convicts_it() -> None:
    assert {promise for promise, _, _ in BREACHES.values()} == set(PROMISES)


# What the evidence does not reach.


def nothing_written(files: Files) -> None:
    files["register"]["write"] = None
    for robot, entries in files["register"]["births"].items():
        files["register"]["births"][robot] = [row for row in entries if row["entry"] == "born"]


def die_incomplete(files: Files) -> None:
    """r02, which alone held part 2, dies before anybody asked it."""
    for robot in ("r00", "r01"):
        drop(files, "journals", journal_part(files, robot, 2))
        renumber(files, robot)
    die(files)


def die(files: Files) -> None:
    files["events"] = [row for row in files["events"] if row not in named(files, "robot.left", "r02")]
    files["fleet"].append({**files["fleet"][-1], "id": f"{STOP_MS}-0", "incarnation": 2})


def stop_early(files: Files) -> None:
    remain_incomplete(files)
    files["streams"]["orders"][-1]["id"] = f"{GO_MS + 1999}-0"


def forget_an_entry(files: Files) -> None:
    row = one(files, 0)
    drop(files, "fates", row)
    files["streams"]["outboxes"][str(row["shard"])]["added"] -= 1


def lose_too_much(files: Files) -> None:
    remain_incomplete(files)
    files["plan"][0]["faults"][0]["fault"] = "loss 0.6"


DOUBTS: dict[str, tuple[str, Damage, str]] = {
    "a register that is gone: once": ("once", lambda f: f["register"].update(exists=False), "register is gone"),
    "a register that is gone: right": ("right", lambda f: f["register"].update(exists=False), "register is gone"),
    "an attempt that left nothing": ("once", lambda f: f["register"].update(write=None), "empty all the same"),
    "nothing to be right": ("right", nothing_written, "nothing was written"),
    "nobody to be patient": ("patient", nothing_written, "nothing was written"),
    "nothing to converge to": ("convergent", nothing_written, "nothing was written"),
    "a lost journal": ("monotonic", lambda f: lose_journal(f, "r02"), "journal of r02 was lost"),
    "the writer's lost journal": ("patient", lambda f: lose_journal(f, "r01"), "r01"),
    "a missing journal": ("unique", lambda f: lose_journal(f, "r02", row=False), "journal of r02 is not in the record"),
    "a gap in a life's events": (
        "monotonic",
        lambda f: drop(f, "events", named(f, "robot.started", "r00")[0]),
        "event 2 of r00/1",
    ),
    "a tail without a death": ("unique", lambda f: drop(f, "events", named(f, "robot.left", "r00")[0]), "r00/1"),
    "a summary that tells nothing": (
        "monotonic",
        lambda f: next(row for row in named(f, "message.sent", "r00") if row["event"]["kind"] == "summary")[
            "event"
        ].update(digest=""),
        "does not tell",
    ),
    "too little time": ("convergent", stop_early, "of 20 ticks"),
    "faults above the budget": ("convergent", lose_too_much, "loss 0.6"),
    "a part that died with its holder": ("convergent", die_incomplete, "part 2 (last held by r02)"),
    "no envelope at all": ("honest faults", lambda f: f["fates"].clear(), "nothing was offered"),
    "a quiet that is told to be after the write": (
        "patient",
        lambda f: quiet_of(f).update(at_us=quiet_of(f)["at_us"] + 1_000_001),
        "clocks of r01 and of the server disagree",
    ),
    "ticks that had no time": ("patient", rush, "clock and the ticks of r01 disagree"),
    "a loser's lost journal": ("patient", lambda f: lose_journal(f, "r00"), "journal of r00, which tried to write"),
    "a try that is not in the births": (
        "once",
        lambda f: insert_event(f, "r02", 2, SecretRefused(), STOP_MS),
        "r02/2 says that it tried",
    ),
    "a robot too few": ("monotonic", lambda f: f["settings"].update(robots=2), "r02 was dealt parts"),
    "a robot too many": ("unique", lambda f: f["settings"].update(robots=4), "journal of r03 is not in the record"),
    "a holder that nobody knows": ("once", lambda f: f["deal"]["indices"][1]["holders"].append("r09"), "r09 was dealt"),
    "a birth stream of nobody": ("once", lambda f: f["register"]["births"].update(r07=[]), "r07 has a birth stream"),
    "a journal of nobody": (
        "idempotent",
        lambda f: f["journals"].append({"robot": "r07", "id": "0-1", "entry": "header", "origin": "dealt"}),
        "r07 has a journal",
    ),
    "a missing birth stream": ("once", lambda f: f["register"]["births"].pop("r02"), "birth stream of r02 is not"),
    "a birth stream without its births": (
        "once",
        lambda f: f["register"]["births"].update(r02=[]),
        "birth of r02/1 is not in its birth stream",
    ),
    "a birth that is in no journal": (
        "once",
        lambda f: f["register"]["births"]["r02"].append({"id": "3-1", "entry": "born", "nonce": "x", "at_us": None}),
        "birth of r02/3 is not in its journal",
    ),
    "an envelope without an entry": ("accounted", forget_an_entry, "no outbox entry is left to be it"),
    "an inbox that was not counted": ("accounted", lambda f: f["streams"]["inboxes"].pop("r01"), "r01's inbox"),
    "an outbox that was not counted": ("accounted", lambda f: f["streams"]["outboxes"].pop("1"), "outbox 1"),
}


def lose_journal(files: Files, robot: str, row: bool = True) -> None:
    files["journals"] = [row for row in files["journals"] if row["robot"] != robot]
    if row:
        files["journals"].append({"robot": robot, "lost": True})


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    promise, damage, reason = DOUBTS[doubt]
    damage(files)
    result = verdict_on(files)
    assert result.promises[promise].state == "UNPROVEN", result.promises[promise].why
    assert reason in result.promises[promise].why
    assert result.verdict != "HELD"


def test_nothing_written_breaks_no_promise(files: Files) -> None:
    # Given a run that ended before anybody wrote
    nothing_written(files)
    for row in (named(files, "secret.written"))[:]:
        row["event"] = msgspec.to_builtins(RobotStarted())
    # When it is judged without a secret.txt
    result = verdict_on(files, secret=None)
    # Then `once` is HELD, and the verdict is UNPROVEN: there is no winner to speak of
    assert result.promises["once"].state == "HELD"
    assert (result.verdict, result.exit_code) == ("UNPROVEN", 3)
    assert (result.winner, result.winner_incarnation, result.seconds.written) == (None, None, None)


def test_relays_of_an_interrupted_run_are_not_convicted_of_what_is_missing(files: Files) -> None:
    for damage in (lose_a_fate, lambda f: count_one(f, "r01", -1)):
        # Given a run that was interrupted before its relays could finish
        damage(files)
        files["settings"]["ended"] = "interrupted"
        # When it is judged
        finding = verdict_on(files).promises["accounted"]
        # Then what is missing is not held against them, nor taken for granted
        assert finding.state == "UNPROVEN", finding.why
        assert "interrupted" in finding.why


def tell(files: Files, *told: AnyEvent) -> Files:
    """The same record as it was before there was a fleet.jsonl, in which the fleet's parent has seen this too."""
    last = named(files, "process.died", "lab")[-1]
    rows = [
        {**last, "number": number, "event": msgspec.to_builtins(event)}
        for number, event in enumerate(told, start=last["number"] + 1)
    ]
    return {name: content for name, content in files.items() if name != "fleet"} | {"events": files["events"] + rows}


def lose_a_copy(files: Files) -> int:
    """Let a copy be decided and never come; gives its shard."""
    row = one(files, 1)
    count_one(files, row["receiver"], -1)
    return int(row["shard"])


def lose_an_entry(files: Files) -> int:
    """Let an envelope have no fate; gives its shard."""
    row = one(files, 0)
    drop(files, "fates", row)
    return int(row["shard"])


@pytest.mark.parametrize("lose", [lose_an_entry, lose_a_copy])
def test_a_relay_that_died_and_was_not_replaced_explains_what_is_missing_in_its_shard(
    lose: Callable[[Files], int], files: Files
) -> None:
    # Given a record in which something is missing in a shard
    shard = lose(files)
    died, replaced = ProcessDied(f"relay:{shard}", 4712, -9), ProcessStarted(f"relay:{shard}", 4713)
    # When its relay died, then that is the reason
    finding = verdict_on(tell(files, died)).promises["accounted"]
    assert finding.state == "UNPROVEN"
    assert "its relay died and was not replaced" in finding.why
    assert verdict_on(tell(files, died, replaced, died)).promises["accounted"].state == "UNPROVEN"
    # But not when it was replaced, ended in order, or when another process died
    ended = ProcessDied(f"relay:{shard}", 4712, 0)
    for others in ([died, replaced], [ended], [ProcessDied("rq:r01", 1, -9)], [ProcessDied("relay:7", 1, -9)]):
        assert verdict_on(tell(files, *others)).promises["accounted"].state == "BROKEN", others


def test_a_part_whose_relay_died_before_it_told_is_unproven(files: Files) -> None:
    # Given a part that came with an envelope whose fate is not recorded
    sender, life, sequence, _ = journal_part(files, "r00", 1)["cause"]
    drop(files, "fates", rows(files, "fates", sender=sender, incarnation=life, receiver="r00", sequence=sequence)[0])
    for shard, state in ((1 - shard_of(sender), "BROKEN"), (shard_of(sender), "UNPROVEN")):
        # When the relay of another shard died, or that of its sender's, then the latter convicts nobody
        told = tell(files, ProcessDied(f"relay:{shard}", 4712, -9))
        assert verdict_on(told).promises["idempotent"].state == state


def test_garbage_that_was_put_into_an_outbox_by_hand_is_refused_rightly(files: Files) -> None:
    # Given an entry that no robot sent
    for shard, outbox in files["streams"]["outboxes"].items():
        files["fates"].append({"shard": int(shard), "id": f"{STOP_MS}-7", "wire": 60, **REFUSED})
        outbox["added"] += 1
    # When it is judged, then nothing speaks against the relay
    assert verdict_on(files).verdict == "HELD"
    # Nor when another envelope's fate is missing because the run was interrupted
    drop(files, "fates", one(files, 0))
    files["settings"]["ended"] = "interrupted"
    result = verdict_on(files)
    assert (result.promises["honest faults"].state, result.promises["accounted"].state) == ("HELD", "UNPROVEN")


@pytest.mark.parametrize("by_us", [-100_000, 100_000, -1_000_000, 1_000_000])
def test_clocks_that_differ_a_little_convict_nobody(by_us: int, files: Files) -> None:
    for robot in ROBOTS:
        shift_clock(files, robot, by_us)
    assert verdict_on(files).promises["patient"].state == "HELD"


def test_clocks_alone_never_convict(files: Files) -> None:
    for by_us in (-3_600_000_000, 3_600_000_000):
        shift_clock(files, "r01", by_us)
        assert verdict_on(files).promises["patient"].state != "BROKEN"


def test_entries_that_were_redone_may_have_more_copies(files: Files) -> None:
    # Given a relay that redid an entry of two copies to r01, recorded it again, and put one copy out twice
    row = next(row for row in rows(files, "fates", receiver="r01") if len(row["deliveries"]) == 2)
    files["fates"] += [{"shard": row["shard"], "redo": [row["id"]]}, dict(row)]
    for surplus, state in ((0, "HELD"), (1, "HELD"), (2, "HELD"), (3, "BROKEN")):
        # When the inbox has got so many more
        count_one(files, "r01", surplus)
        # Then as many as were redone are accounted for, and not one more
        result = verdict_on(files)
        assert result.promises["accounted"].state == state
        count_one(files, "r01", -surplus)
        # And they are counted apart
        assert result.repeated == Repeated(redone=1, copies=surplus)
        told = [line for line in verdict_lines(result.json) if "entries redone 1," in line]
        assert [line.endswith(f"copies that came again {surplus}") for line in told] == [True]


def test_copies_that_came_once_more_are_counted_whatever_is_missing_elsewhere(files: Files) -> None:
    count_one(files, "r01", 2)
    count_one(files, "r00", -1)
    assert verdict_on(files).repeated == Repeated(redone=0, copies=2)


def test_contradictions_of_the_lab_are_no_copies(files: Files) -> None:
    count_one(files, "r01", 1)
    files["streams"]["contradictions"] = {"r01": 1}
    assert verdict_on(files).promises["accounted"].state == "HELD"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (WorkerRestarted("secret_merger", 1, 20_000), "HELD"),
        (WorkerRestarted("r00/secret_merger", 1, 20_000), "HELD"),
        (WorkerRestarted("inbox_reader", 1, 20_000), "BROKEN"),
    ],
)
def test_a_contradiction_is_answered_by_a_restart_of_its_worker(files: Files, answer: AnyEvent, state: str) -> None:
    swallow_a_contradiction(files)
    insert_event(files, "r00", 1, answer, 301_000)
    assert verdict_on(files).promises["unique"].state == state


def test_a_contradiction_at_the_very_end_needs_no_restart(files: Files) -> None:
    # Given a violation that is followed at once by the life's end
    left = named(files, "robot.left", "r00")[0]
    insert_event(files, "r00", 1, InvariantViolated("unique", "", 0, "r01", 1, 1, 0), left["monotonic_us"] - 5)
    # Then nothing went on that should not have
    assert verdict_on(files).promises["unique"].state == "HELD"


def test_only_robots_that_lived_until_the_stop_are_in_scope(files: Files) -> None:
    # Given r02, which is not complete
    remain = journal_part(files, "r02", 1)
    drop(files, "journals", remain)
    drop(files, "journals", rows(files, "journals", robot="r02", entry="complete")[0])
    renumber(files, "r02")
    assert verdict_on(files).promises["convergent"].state == "BROKEN"
    # When it died, left early, or was fenced, then nobody asks it to be complete
    left = named(files, "robot.left", "r02")[0]
    for end in (RobotLeft("given up"), RobotFenced("journal"), RobotLeft("recalled")):
        left["event"] = msgspec.to_builtins(end)
        assert verdict_on(files).promises["convergent"].state == "HELD"
    # But if it was recalled after the order to stop, which it had not heard, then it lived until the end
    left["wall_us"] = (STOP_MS + 1_001) * 1_000
    assert verdict_on(files).promises["convergent"].state == "BROKEN"
    left["wall_us"] = STOP_MS * 1_000
    drop(files, "events", left)
    die(files)
    assert verdict_on(files).promises["convergent"].state == "HELD"
    # But a death before its last birth excuses nothing
    files["fleet"].pop()
    assert verdict_on(files).promises["convergent"].state == "BROKEN"


def put_in_force(files: Files, at_ms: int, *faults: str) -> None:
    """Let a plan of these faults have come into force in both outboxes."""
    planned = [{"instance": 50 + number, "fault": text} for number, text in enumerate(faults)]
    for shard in (0, 1):
        files["plan"].append({"shard": shard, "id": f"{at_ms}-{shard}", "control": "plan", "faults": planned})


BEFORE_IT_SETTLED_MS = STOP_MS - 20 * TICK_US // 1000 - 1


@pytest.mark.parametrize(
    ("faults", "state", "reason"),
    [
        # what everyone meets, within the budget and above it
        (["loss 0.5"], "BROKEN", "had time"),
        (["loss 0.51"], "UNPROVEN", "loss 0.51"),
        (["burst-loss 0.5 5"], "BROKEN", "had time"),
        (["burst-loss 0.3 5", "loss 0.2", "corrupt 0.2"], "UNPROVEN", "burst-loss 0.3 5"),
        (["loss 0.2", "corrupt 0.2", "duplicate 1 x9", "reorder 1"], "BROKEN", "had time"),
        (["delay 50ms..100ms"], "BROKEN", "had time"),
        (["delay 101ms"], "UNPROVEN", "delay 101ms"),
        (["delay 20ms~0.5"], "BROKEN", "had time"),
        (["delay 20ms~1"], "UNPROVEN", "delay 20ms~1"),
        (["throttle 1000/s"], "UNPROVEN", "throttle 1000/s"),
        # what cuts r00 off, which lacks part 1; r01 and r02 hold it
        (["partition r00"], "HELD", "cut off at the end, and not complete: r00"),
        (["partition hold r00|r01..r02"], "HELD", "cut off at the end"),
        (["partition r01,r02>r00"], "HELD", "cut off at the end"),
        (["loss 0.6 r00"], "HELD", "cut off at the end"),
        (["loss 0.4", "corrupt 0.3 r00"], "HELD", "cut off at the end"),
        (["throttle 5/s r00>r01,r02"], "HELD", "cut off at the end"),
        (["delay 1s r00"], "HELD", "cut off at the end"),
        (["loss 0.3", "partition r00>r02"], "HELD", "cut off at the end"),
        # what does not
        (["partition r00|r02"], "BROKEN", "had time"),
        (["partition r01|r02"], "BROKEN", "had time"),
        (["partition r03|r00..r02"], "BROKEN", "had time"),
        (["loss 0.5 r00"], "BROKEN", "had time"),
        # what leaves it open: r01, which was dealt part 1, is cut off from r00, or lacks good links itself
        (["partition r00|r01"], "UNPROVEN", "may have got it late"),
        (["loss 0.5 r00", "delay 1s r01|r02"], "UNPROVEN", "may have got it late"),
    ],
)
def test_robots_are_asked_only_for_what_the_network_allowed(
    faults: list[str], state: str, reason: str, files: Files
) -> None:
    # Given r00, which is not complete, and a plan in force for 20 ticks until the stop
    remain_incomplete(files)
    put_in_force(files, BEFORE_IT_SETTLED_MS, *faults)
    for healed in (False, True):
        # When it is judged, be it that the lab healed the network at the end
        if healed:
            put_in_force(files, STOP_MS)
            put_in_force(files, STOP_MS + 3)
        finding = verdict_on(files).promises["convergent"]
        # Then the robot is in scope only if the network was good enough for it
        assert (finding.state, reason in finding.why) == (state, True), finding.why


def test_a_robot_that_is_cut_off_from_all_who_hold_what_it_lacks_is_out_of_scope(files: Files) -> None:
    # Given r00, which lacks part 1, and r02, which lacks it too
    remain_incomplete(files)
    drop(files, "journals", journal_part(files, "r02", 1))
    drop(files, "journals", rows(files, "journals", robot="r02", entry="complete")[0])
    renumber(files, "r02")
    # When only r01, which holds it, is cut off from r00
    put_in_force(files, BEFORE_IT_SETTLED_MS - 1, "partition r00|r01")
    finding = verdict_on(files).promises["convergent"]
    # Then r02 is to blame alone
    assert (finding.state, "r02 is not complete: it lacks part 1;" in finding.why) == ("BROKEN", False)
    assert finding.why.startswith("r02 is not complete: it lacks part 1, although")
    # When r01 is cut off from both, then nobody is
    put_in_force(files, BEFORE_IT_SETTLED_MS, "partition r01")
    finding = verdict_on(files).promises["convergent"]
    assert (finding.state, "r00, r02" in finding.why) == ("HELD", True)
    # When everybody is cut off from everybody, then there is nobody to speak of
    put_in_force(files, BEFORE_IT_SETTLED_MS + 1, "partition r00|r01|r02")
    remain = journal_part(files, "r01", 2)
    drop(files, "journals", remain)
    drop(files, "journals", rows(files, "journals", robot="r01", entry="complete")[0])
    renumber(files, "r01")
    finding = verdict_on(files).promises["convergent"]
    assert (finding.state, "no robot was in scope" in finding.why) == ("UNPROVEN", True)


def test_a_part_whose_dealt_holder_died_is_asked_of_others_who_hold_it(files: Files) -> None:
    # Given r00, which lacks part 2; r02, which was dealt it, died, and r01 holds it
    drop(files, "journals", journal_part(files, "r00", 2))
    drop(files, "journals", rows(files, "journals", robot="r00", entry="complete")[0])
    renumber(files, "r00")
    die(files)
    # When it is judged, then r00 had its chance
    finding = verdict_on(files).promises["convergent"]
    assert (finding.state, "it lacks part 2" in finding.why) == ("BROKEN", True)


def test_only_a_plan_that_differs_gives_robots_more_time(files: Files) -> None:
    # Given r00, which is not complete, and a request just before the stop that changed nothing
    remain_incomplete(files)
    put_in_force(files, BEFORE_IT_SETTLED_MS, "loss 0.1")
    put_in_force(files, STOP_MS - 500, "loss 0.1")
    assert verdict_on(files).promises["convergent"].state == "BROKEN"
    # When another one did change something, if only for the better
    put_in_force(files, STOP_MS - 400)
    finding = verdict_on(files).promises["convergent"]
    # Then there was too little time
    assert (finding.state, "only 4 of 20 ticks" in finding.why) == ("UNPROVEN", True)


def test_secret_txt_must_be_what_the_register_holds(files: Files) -> None:
    assert verdict_on(files, SECRET[:-1] + b"?").promises["right"].state == "BROKEN"
    assert verdict_on(files, SECRET + b"\n").promises["right"].state == "BROKEN"
    assert verdict_on(files, SECRET[: len(SECRET) // 2]).promises["right"].state == "UNPROVEN"
    assert verdict_on(files, None).promises["right"].state == "UNPROVEN"


# Damage: never HELD, never a traceback.

GARBAGE = {
    "nothing": b"",
    "null": b"null\n",
    "a list": b"[]\n",
    "an object": b"{}\n",
    "noise": b"\x00\xff\xfe garbage \x80\n",
    "deep nesting": b"[" * 100_000 + b"\n",
    "a huge number": b'{"seed": 1e999}\n',
    "a text": b'"secret"\n',
}


@pytest.mark.parametrize("name", [*FILES.values(), "secret.txt"])
def test_a_damaged_file_is_never_held(name: str, files: Files, tmp_path: Path) -> None:
    # Given a record whose file is missing, cut in half, or garbage
    folder = put(tmp_path / "abc123", files)
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    Record(folder).seal()
    missing = judge(load(folder))
    assert missing.verdict == "UNPROVEN"
    if name != "secret.txt":
        assert any(f"{name} is missing" in promise.why for promise in missing.promises.values())
    for content in (whole[: len(whole) // 2], whole[:-20], *GARBAGE.values()):
        (folder / name).write_bytes(content)
        Record(folder).seal()  # so that the judge has to see it by itself
        # When it is judged
        result = judge(load(folder))
        # Then it does not pass, no check crashed, and the result can still be printed
        assert result.verdict != "HELD", content[:40]
        assert not any("crashed" in promise.why for promise in result.promises.values())
        json.dumps(result.json)


def sealed_states(folder: Path) -> set[str]:
    return {promise.state for promise in judge(load(folder)).promises.values()}


@pytest.mark.parametrize("name", [*EVIDENCE, "manifest.json"])
def test_nothing_is_held_by_a_record_that_was_changed_after_it_was_sealed(
    name: str, files: Files, tmp_path: Path
) -> None:
    # Given a sealed record
    folder = put(tmp_path / "abc123", files)
    assert sealed_states(folder) == {"HELD"}
    whole = (folder / name).read_bytes()
    middle = len(whole) // 2
    edited = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    # When any file is edited by a byte, cut, lengthened, emptied or removed
    for content in (edited, whole[:-3], whole[:middle], whole + b"x", b"", None):
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        # Then no promise is HELD, and the result can still be printed
        result = judge(load(folder))
        assert "HELD" not in {promise.state for promise in result.promises.values()}
        assert any("as it was recorded" in promise.why for promise in result.promises.values())
        json.dumps(result.json)
    # Until it stands there again as it was
    (folder / name).write_bytes(whole)
    assert sealed_states(folder) == {"HELD"}


def test_a_manifest_must_name_what_is_there_and_nothing_else(files: Files, tmp_path: Path) -> None:
    folder = put(tmp_path / "abc123", files)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest) == list(EVIDENCE)
    for name in EVIDENCE:
        (folder / "manifest.json").write_text(json.dumps({key: manifest[key] for key in manifest if key != name}))
        assert sealed_states(folder) == {"UNPROVEN"}
    for strange in ({**manifest, "/dev/zero": "0"}, [manifest], {**manifest, "deal.json": None}, None):
        (folder / "manifest.json").write_text(json.dumps(strange))
        assert sealed_states(folder) == {"UNPROVEN"}


def test_a_record_that_was_changed_still_convicts(files: Files, tmp_path: Path) -> None:
    # Given a record whose secret was changed after it was sealed
    folder = put(tmp_path / "abc123", files)
    (folder / "register.json").write_text((folder / "register.json").read_text().replace("lacht", "weint"))
    # When it is judged
    result = judge(load(folder))
    # Then what it shows to be broken is BROKEN, and what it would show to be held is not
    assert result.promises["right"].state == "BROKEN"
    assert result.promises["once"].why == "register.json is not as it was recorded"
    assert result.exit_code == 1


def test_what_is_no_evidence_may_come_and_go(files: Files, tmp_path: Path) -> None:
    folder = put(tmp_path / "abc123", files)
    (folder / "logs").mkdir()
    Record(folder).write("verdict", {})
    assert sealed_states(folder) == {"HELD"}


def test_an_empty_folder_is_unproven_throughout(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        result = judge(load(folder))
        assert {promise.state for promise in result.promises.values()} == {"UNPROVEN"}
        assert (result.verdict, result.run, result.seconds.total, result.messages.sent) == (
            "UNPROVEN",
            None,
            None,
            None,
        )


@pytest.mark.parametrize("file", ROW_FILES)
def test_a_file_cut_between_its_lines_is_never_held(file: str, files: Files) -> None:
    whole = files[file]
    for length in range(len(whole)):
        assert verdict_on(files | {file: whole[:length]}).verdict != "HELD", length


@pytest.mark.parametrize("file", ROW_FILES)
def test_no_line_can_be_taken_out_unnoticed(file: str, files: Files) -> None:
    # Given any single line, except what the lab itself saw, and the tail of a life that was killed
    whole = files[file]
    tail = max((row["number"] for row in whole if row.get("source") == "r02" and row["incarnation"] == 1), default=None)
    for place, row in enumerate(whole):
        if row.get("source") == "lab" or (row.get("source"), row.get("number")) == ("r02", tail):
            continue
        # When it is missing, then the record does not pass
        assert verdict_on(files | {file: whole[:place] + whole[place + 1 :]}).verdict != "HELD", row


def test_a_missing_field_is_never_held_and_never_a_crash(files: Files) -> None:
    # Given the fields that a check looks at, one of them taken out at a time
    unread = {"settings": {"mode", "copies", "for_us", "limit_us", "shards"}}
    for name in ("settings", "deal", "register", "streams"):
        for field in files[name].keys() - unread.get(name, set()):
            content = {key: value for key, value in files[name].items() if key != field}
            result = verdict_on(files | {name: content})
            assert result.verdict == "UNPROVEN", (name, field)
            assert any(f"`{field}`" in promise.why for promise in result.promises.values())


def mutated(value: Any, chance: random.Random) -> Any:
    """`value` with one of its leaves replaced by something else."""
    strange = [None, -1, 0, 2**70, 1.5, "", "r00", "0-0", "a-b", [], {}, True, "1-1", [None], {"robot": 3}]
    if isinstance(value, dict) and value and chance.random() < 0.95:
        key = chance.choice(list(value))
        return {**value, key: mutated(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.95:
        place = chance.randrange(len(value))
        return [*value[:place], mutated(value[place], chance), *value[place + 1 :]]
    return chance.choice(strange)


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_makes_the_judge_raise(seed: int, files: Files) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        name = chance.choice(list(FILES))
        result = verdict_on(files | {name: mutated(files[name], chance)})
        assert result.verdict in judging.EXIT_CODES
        json.dumps(result.json)


def test_a_check_that_crashes_is_unproven(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_case: Any) -> Any:
        raise ZeroDivisionError("of the judge's own")

    monkeypatch.setitem(PROMISES, "once", crash)
    result = verdict_on(files)
    assert result.promises["once"].state == "UNPROVEN"
    assert "ZeroDivisionError" in result.promises["once"].why
    assert (result.verdict, result.exit_code) == ("UNPROVEN", 3)


def test_the_judge_shares_no_code_with_what_it_judges() -> None:
    folder = Path(judging.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                ours = module.split(".")[0] in ("broker", "robots", "deploy")
                assert not ours, f"{path.name} imports {module}"
                if module.startswith("telemetry"):
                    assert module.startswith(("telemetry.verdict", "telemetry.events", "telemetry.record.folder"))
