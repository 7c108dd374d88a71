"""Honest records of runs that a robot joined. No tests here."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from telemetry.events import RobotLeft, RobotWaiting, RunStarted, SecretWritten
from tests.verdict.alterations import named
from tests.verdict.honest_record import SECRET
from tests.verdict.scribe import END_MS, GO_MS, PLAN, ROBOTS, Files, Scribe, files_of


class Growing(Scribe):
    """Writes down a run that robots join."""

    def join(self, robot: str) -> None:
        """Let an order have the robot join; it is not born yet."""
        self.now_ms += 1
        self.order("joined", self.now_ms, robot)
        self.journals[robot] = [{"robot": robot, "id": "0-1", "entry": "header", "origin": "joined"}]
        self.births[robot], self.inboxes[robot], self.life[robot] = [], 0, 0

    def learn(self, robot: str) -> None:
        for teacher in ROBOTS:
            if teacher != robot:
                self.teach(teacher, robot)

    def write(self, robot: str) -> None:
        self.journal(robot, "quiet", ticks=10, exchange="00" * 8, at_us=self.wall_us())
        self.attempt(robot)

    def end(self, at_ms: int, *leaving: str) -> None:
        self.tick_until(at_ms)
        self.order("stop", at_ms, "complete")
        for robot in leaving:
            self.emit(robot, RobotLeft("complete"))


def begun(faults: Sequence[str] = PLAN) -> Growing:
    """Three robots, of which each knows all."""
    scribe = Growing(faults)
    scribe.deal()
    for robot in ROBOTS:
        scribe.born(robot)
    scribe.order("go", GO_MS)
    scribe.emit("lab", RunStarted(3))
    for robot in ROBOTS:
        scribe.learn(robot)
    return scribe


def written_by(scribe: Growing, robot: str) -> Files:
    """The record of a run that goes on for a minute after `robot` wrote the secret."""
    scribe.send(robot, next(other for other in ROBOTS if other != robot), "summary")
    scribe.now_ms = GO_MS + 1_500
    scribe.write(robot)
    scribe.emit(robot, SecretWritten(len(SECRET), "aof"))
    scribe.end(END_MS, *(each for each in scribe.life if scribe.life[each]))
    files = files_of(scribe)
    files["register"]["writes"][0] |= {"robot": robot, "nonce": f"{robot}-1"}
    return files


def grown(writer: str = "r01") -> Files:
    """An honest record of a run that r03 joined, and learnt all."""
    scribe = begun()
    scribe.join("r03")
    scribe.born("r03")
    scribe.learn("r03")
    return written_by(scribe, writer)


def wait(files: Files, robot: str, at_ms: int) -> None:
    """Let an event report that the robot waits for an RQ worker."""
    row = {**named(files, "run.started")[0], "number": 9, "wall_us": at_ms * 1000}
    files["events"].append(row | {"event": msgspec.to_builtins(RobotWaiting(robot, (0,)))})
