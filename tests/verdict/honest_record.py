"""Honest records, made by hand, as values and as folders. No tests here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from telemetry.events import ProcessDied, RobotLeft, RobotStarted, SecretWritten
from telemetry.record.folder import Record
from tests.verdict.scribe import END_MS, GO_MS, ROBOTS, ROW_FILES, STOP_MS, WORDS, Files, Scribe, files_of

PAIRS = [(sender, receiver) for sender in ROBOTS for receiver in ROBOTS if sender != receiver]


def after_a_minute() -> Files:
    """The files of an honest record of a run that went on for a minute after all was done."""
    return honest(END_MS)[0]


def honest(stop_ms: int = STOP_MS) -> tuple[Files, bytes]:
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
    scribe.tick_until(stop_ms)
    scribe.order("stop", stop_ms, "complete")
    for robot in ROBOTS:
        scribe.emit(robot, RobotLeft("complete"))
    return files_of(scribe), "".join(WORDS).encode()


SECRET = honest()[1]


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


def living(
    deaths: int, *, pause_ms: int = 600, life_ms: int = 0, injections: Sequence[int] = (), victim: str = "r02"
) -> Scribe:
    """r02 dies so often by itself, except where an injection kills it, and is born again, but not at last."""
    scribe = Scribe([])
    scribe.deal()
    for robot in ROBOTS:
        scribe.born(robot)
    scribe.order("go", GO_MS)
    for number in range(1, deaths + 1):
        if number > 1:
            scribe.now_ms += pause_ms
            scribe.born("r02")
            scribe.now_ms += life_ms
        if number in injections:
            scribe.injection("kill", "robot", victim)
        scribe.die("r02", "exit", 1, victim="r02")
    return scribe


def stopped(scribe: Scribe, *leaving: str) -> Files:
    scribe.order("stop", scribe.now_ms + 30_000, "stopped")
    for robot in leaving:
        scribe.emit(robot, RobotLeft("stopped"))
    return files_of(scribe)
