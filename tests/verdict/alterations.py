"""Alterations of an honest record that the tests of several promises share. No tests here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from telemetry.events import AnyEvent
from tests.support.fault_words import fault_words
from tests.verdict.scribe import STOP_MS, Files

Damage = Callable[[Files], Any]
REFUSED = dict.fromkeys(("sender", "incarnation", "receiver", "sequence", "exchange", "kind")) | {
    "fate": "refused",
    "faults": [],
    "deliveries": [],
    "body": 0,
}


def rows(files: Files, file: str, **fields: Any) -> list[dict[str, Any]]:
    return [row for row in files[file] if all(row.get(key) == value for key, value in fields.items())]


def named(files: Files, name: str, source: str | None = None) -> list[dict[str, Any]]:
    return [row for row in files["events"] if row["event"]["name"] == name and source in (None, row["source"])]


def renumber(files: Files, robot: str) -> None:
    """Number the entries of a journal anew, so that only their content counts."""
    numbers: dict[str, int] = {}
    for row in rows(files, "journals", robot=robot):
        life = row["id"].partition("-")[0]
        numbers[life] = numbers.get(life, 0) + 1
        row["id"] = f"{life}-{numbers[life]}"


def insert_event(files: Files, source: str, life: int, event: AnyEvent, at_us: int) -> None:
    """Let a source have emitted `event` just before its last one."""
    own = [row for row in files["events"] if (row["source"], row["incarnation"]) == (source, life)]
    last = max(own, key=lambda row: row["number"])
    added = {**last, "monotonic_us": at_us, "event": msgspec.to_builtins(event)}
    last["number"] += 1
    files["events"].insert(files["events"].index(last), added)


def journal_part(files: Files, robot: str, index: int) -> dict[str, Any]:
    return rows(files, "journals", robot=robot, index=index)[0]


def drop(files: Files, file: str, row: dict[str, Any]) -> None:
    files[file].remove(row)


def know_two_words(files: Files) -> None:
    part = journal_part(files, "r00", 1)
    files["journals"].insert(files["journals"].index(part) + 1, {**part, "word": "other "})
    renumber(files, "r00")


def wait_incomplete(files: Files) -> None:
    drop(files, "journals", journal_part(files, "r01", 2))
    renumber(files, "r01")


def remain_incomplete(files: Files) -> None:
    drop(files, "journals", journal_part(files, "r00", 1))
    drop(files, "journals", rows(files, "journals", robot="r00", entry="complete")[0])
    renumber(files, "r00")


def one(files: Files, copies: int) -> dict[str, Any]:
    """A fate that is no harm but to the number of copies."""
    fate = "delivered" if copies else "lost"
    return next(row for row in files["fates"] if row["fate"] == fate and len(row["deliveries"]) == copies)


def deliver_the_stale(files: Files) -> None:
    rows(files, "fates", fate="stale")[0] |= {"fate": "delivered", "deliveries": [6_000]}


def decide_twice(files: Files) -> None:
    row = one(files, 1)
    files["fates"].append({**row, "deliveries": []})


def count_one(files: Files, robot: str, more: int) -> None:
    files["streams"]["inboxes"][robot]["added"] += more


def nothing_written(files: Files) -> None:
    files["register"]["writes"] = []
    for robot, entries in files["register"]["births"].items():
        files["register"]["births"][robot] = [row for row in entries if row["entry"] == "born"]


def die(files: Files) -> None:
    files["events"] = [row for row in files["events"] if row not in named(files, "robot.left", "r02")]
    files["fleet"].append({**files["fleet"][-1], "id": f"{STOP_MS}-0", "incarnation": 2})


def lose_journal(files: Files, robot: str, row: bool = True) -> None:
    files["journals"] = [row for row in files["journals"] if row["robot"] != robot]
    if row:
        files["journals"].append({"robot": robot, "entry": "lost"})


def lose_a_copy(files: Files) -> int:
    """Let a copy be decided and never come; gives its shard."""
    row = one(files, 1)
    count_one(files, row["receiver"], -1)
    return int(row["shard"])


def fleet_row(files: Files, at_ms: int, **row: Any) -> None:
    files["fleet"].append({"id": f"{at_ms}-{len(files['fleet'])}", **row})
    files["fleet"].sort(key=lambda kept: tuple(map(int, kept["id"].split("-"))))


def death(files: Files, robot: str, life: int, at_ms: int, how: str = "signal", status: int = -9, **more: Any) -> None:
    row = {"victim": robot, "robot": robot, "incarnation": life, "how": how, "status": status}
    fleet_row(files, at_ms, row="death", **(row | more))


def relay_death(files: Files, shard: int, at_ms: int, how: str = "signal", status: int = -9) -> None:
    victim = {"victim": f"relay:{shard}", "robot": "", "incarnation": 0}
    fleet_row(files, at_ms, row="death", **victim, how=how, status=status)


def injection(files: Files, text: str, victim: str, at_ms: int) -> None:
    fleet_row(files, at_ms, row="injection", **fault_words(text), victim=victim)


def reported(files: Files, event: AnyEvent, at_ms: int, source: str = "lab") -> None:
    row = {**named(files, "process.died")[0], "source": source, "number": 9, "incarnation": 0, "wall_us": at_ms * 1000}
    files["events"].append(row | {"event": msgspec.to_builtins(event)})


def birth_ms(files: Files, robot: str, life: int) -> int:
    return int(rows(files, "plan", robot=robot, incarnation=life)[0]["id"].split("-")[0])
