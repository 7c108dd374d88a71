"""The verdict on who takes part: robots that join late or are handed back, and runs that their server lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_verdict import (
    GO_MS,
    PLAN,
    ROBOTS,
    STOP_MS,
    TICK_US,
    WORDS,
    Files,
    Scribe,
    drop,
    files_of,
    journal_part,
    lose_journal,
    named,
    put,
    renumber,
    rows,
    verdict_on,
)
from test_verdict_fleet import LATE_MS, death, finding, state

from broker.ports.robot import Order
from broker.ports.run import Evidence
from robots.run.record_rows import streams
from telemetry.console import verdict_lines
from telemetry.events import RobotLeft, RobotWaiting, RunStarted, SecretWritten
from telemetry.verdict.case import load
from telemetry.verdict.judge import PROMISES, judge

END_MS = STOP_MS + 60_000
SETTLING_MS = 20 * TICK_US // 1000
SECRET = "".join(WORDS).encode()


class Growing(Scribe):
    """Writes down a run that robots join."""

    def join(self, robot: str) -> None:
        """Let the robot have been told to join; it is not born yet."""
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
    scribe.now_ms = GO_MS + 1_500
    scribe.write(robot)
    scribe.emit(robot, SecretWritten(len(SECRET), "aof"))
    scribe.end(END_MS, *(each for each in scribe.life if scribe.life[each]))
    files = files_of(scribe)
    files["register"]["write"] |= {"robot": robot, "nonce": f"{robot}-1"}
    return files


def grown(writer: str = "r01") -> Files:
    """An honest record of a run that r03 joined, and learnt all."""
    scribe = begun()
    scribe.join("r03")
    scribe.born("r03")
    scribe.learn("r03")
    return written_by(scribe, writer)


@pytest.fixture
def files() -> Files:
    return grown()


def joined_before_the_end(by_ms: int) -> Files:
    """A record of a run that r03 joined so long before the stop that it learnt nothing, at best."""
    scribe = begun()
    scribe.now_ms = GO_MS + 1_500
    scribe.write("r01")
    scribe.now_ms = END_MS - by_ms - 3  # the order, the birth's entry, and its own first millisecond
    scribe.join("r03")
    scribe.now_ms = END_MS - by_ms - 1
    scribe.born("r03")
    scribe.end(END_MS, *ROBOTS, "r03")
    return files_of(scribe)


def wait(files: Files, robot: str, at_ms: int) -> None:
    """Let it have been told that the robot waits for an RQ worker."""
    row = {**named(files, "run.started")[0], "number": 9, "wall_us": at_ms * 1000}
    files["events"].append(row | {"event": msgspec.to_builtins(RobotWaiting(robot, (0,)))})


def reasons(files: Files, word: str) -> dict[str, str]:
    """The promises that are UNPROVEN, and say `word`."""
    promises = verdict_on(files).promises
    return {name: each.why for name, each in promises.items() if each.state == "UNPROVEN" and word in each.why}


# Who joined.


def test_a_run_that_a_robot_joins_is_held_and_names_it(files: Files) -> None:
    # Given a robot that joined with empty hands, and learnt everything
    assert journal_part(files, "r03", 2)["cause"]
    # When the run is judged
    result = verdict_on(files)
    # Then all is HELD, the joiner was asked as well, and it is named
    assert {name: promise.why for name, promise in result.promises.items() if promise.state != "HELD"} == {}
    assert "all 4 robots in scope are complete" in result.promises["convergent"].why
    assert (result.robots, result.joined) == (3, ["r03"])
    assert "  joined: r03" in list(verdict_lines(result.json))
    # And a run that nobody joined says nothing of it
    alone = verdict_on(written_by(begun(), "r01"))
    assert (alone.verdict, alone.joined) == ("HELD", [])
    assert not any("joined" in line for line in verdict_lines(alone.json))


def test_joiners_are_named_by_their_numbers() -> None:
    scribe = begun()
    for robot in ("r11", "r04", "r100"):
        scribe.join(robot)
    result = verdict_on(written_by(scribe, "r01"))
    assert result.joined == ["r04", "r11", "r100"]
    assert "  joined: r04, r11, r100" in list(verdict_lines(result.json))


def test_an_order_whose_reply_was_lost_may_stand_there_twice(files: Files) -> None:
    order = next(row for row in files["streams"]["orders"] if row["order"] == "joined")
    files["streams"]["orders"].append({**order, "id": f"{GO_MS + 900}-0"})
    assert verdict_on(files).verdict == "HELD"


def test_the_times_of_a_run_are_those_of_the_dealt_robots_and_lives_are_everybodys(files: Files) -> None:
    # Given what is told of the dealt robots
    completed = [row["at_us"] for row in rows(files, "journals", entry="complete") if row["robot"] != "r03"]
    # When a joiner completes long after them, and lives twice
    rows(files, "journals", robot="r03", entry="complete")[0]["at_us"] = (END_MS - 1) * 1000
    files["journals"].append({"robot": "r03", "id": "2-1", "entry": "born", "nonce": "r03-2"})
    # Then it is no matter of the former, and of the latter it is
    result = verdict_on(files)
    assert result.seconds.all_complete == (max(completed) - GO_MS * 1000) / 1e6
    assert result.lives == {"r03": 2}


def be_told_by_no_order(files: Files) -> None:
    files["streams"]["orders"] = [row for row in files["streams"]["orders"] if row["order"] != "joined"]


def be_dealt_by_its_journal(files: Files) -> None:
    rows(files, "journals", robot="r03", entry="header")[0]["origin"] = "dealt"


def join_from_the_beginning(files: Files) -> None:
    rows(files, "journals", robot="r00", entry="header")[0]["origin"] = "joined"


def order(files: Files, reason: str | None) -> None:
    files["streams"]["orders"].append({"id": f"{GO_MS + 900}-0", "order": "joined", "reason": reason})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (be_told_by_no_order, "the journal of r03 says that it joined, and no order told it to"),
        (be_dealt_by_its_journal, "r03 was told to join, and its journal says that it was dealt"),
        (lambda files: lose_journal(files, "r03", row=False), "r03 was told to join, and its journal is not in"),
        (lambda files: lose_journal(files, "r03"), "the journal of r03 was lost"),
        (lambda files: files["register"]["births"].pop("r03"), "the birth stream of r03 is not in the record"),
        (lambda files: files["streams"]["inboxes"].pop("r03"), "the entries of r03's inbox were not counted"),
        (lambda files: order(files, "r04"), "r04 was told to join, and its journal is not in the record"),
        (lambda files: order(files, "r00"), "an order says that r00 joined, and it was there from the beginning"),
        (lambda files: order(files, "x\x1b"), r"an order says that 'x\x1b' joined, which is no robot's name"),
        (lambda files: order(files, None), "an order says that '' joined, which is no robot's name"),
        (join_from_the_beginning, "the journal of r00 says that it joined, and no order told it to"),
        (
            lambda files: files.pop("streams"),
            "r03 joined, says its journal, and nothing shows an order: streams.json is missing",
        ),
    ],
)
def test_who_joined_must_be_told_alike_by_orders_and_journals(
    change: Callable[[Files], Any], why: str, files: Files
) -> None:
    change(files)
    assert verdict_on(files).verdict == "UNPROVEN"
    assert reasons(files, why)


def test_the_record_keeps_whom_an_order_names() -> None:
    evidence = Evidence({}, {}, {}, {}, True, None, {}, {}, [Order("5-0", "joined", b"r06")], [])  # type: ignore[arg-type]
    assert streams(evidence)["orders"] == [{"id": "5-0", "order": "joined", "reason": "r06"}]


# What is asked of joiners.


def forget_a_part(files: Files) -> None:
    drop(files, "journals", journal_part(files, "r03", 1))


def change_a_part(files: Files) -> None:
    files["journals"].append({**journal_part(files, "r03", 1), "id": "1-6", "word": "other"})


def learn_a_word_that_was_never_dealt(files: Files) -> None:
    journal_part(files, "r03", 1)["word"] = "other"


def begin_with_a_part(files: Files) -> None:
    header = rows(files, "journals", robot="r03", entry="header")[0]
    part = {"entry": "part", "index": 0, "word": WORDS[0], "last": False, "cause": None}
    files["journals"].insert(files["journals"].index(header) + 1, {"robot": "r03", "id": "0-2", **part})


def learn_it_twice(files: Files) -> None:
    files["journals"].append({**journal_part(files, "r03", 1), "id": "1-6"})


def learn_from_nobody(files: Files) -> None:
    journal_part(files, "r03", 1)["cause"] = None


def journal_as_an_older_life(files: Files) -> None:
    files["journals"].append({"robot": "r03", "id": "2-1", "entry": "born", "nonce": "r03-2"})
    files["journals"].append({"robot": "r03", "id": "1-6", "entry": "complete", "at_us": GO_MS * 1000})


@pytest.mark.parametrize(
    ("promise", "change"),
    [
        ("monotonic", forget_a_part),
        ("monotonic", change_a_part),
        ("monotonic", begin_with_a_part),
        ("unique", learn_a_word_that_was_never_dealt),
        ("idempotent", learn_it_twice),
        ("idempotent", learn_from_nobody),
        ("fenced", journal_as_an_older_life),
        ("supervised", lambda files: death(files, "r03", 1, END_MS - LATE_MS - 1)),
        ("accounted", lambda files: files["streams"]["inboxes"]["r03"].update(added=99)),
    ],
)
def test_a_joiner_is_held_to_every_promise(promise: str, change: Callable[[Files], Any], files: Files) -> None:
    assert state(files, promise) == "HELD"
    change(files)
    found = finding(files, promise)
    assert (found[0], "r03" in found[1]) == ("BROKEN", True), found


def test_a_joiner_may_write_the_secret_and_is_judged_like_any_writer() -> None:
    # Given a run whose writer had joined
    files = grown("r03")
    assert verdict_on(files).verdict == "HELD"
    assert verdict_on(files).winner == "r03"
    # When it was quiet for too short a time, lacked a part, or another was told that it wrote, then it is convicted
    rows(files, "journals", robot="r03", entry="quiet")[0]["ticks"] = 9
    assert state(files, "patient") == "BROKEN"
    files = grown("r03")
    drop(files, "journals", journal_part(files, "r03", 1))
    renumber(files, "r03")
    assert "r03 was not complete when it began to wait" in finding(files, "patient")[1]
    files = grown("r03")
    named(files, "secret.written")[0]["source"] = "r00"
    assert state(files, "once") == "BROKEN"


def test_a_joiner_that_tries_to_write_without_being_quiet_is_convicted(files: Files) -> None:
    files["register"]["births"]["r03"].append({"id": "1-2", "entry": "attempt", "nonce": "r03-1", "at_us": None})
    files["events"].append({**named(files, "robot.left", "r03")[0], "number": 99, "event": {"name": "secret.refused"}})
    assert finding(files, "patient")[0] == "BROKEN"
    assert "r03 tried to write without having been quiet" in finding(files, "patient")[1]


@pytest.mark.parametrize(("by_ms", "expected"), [(SETTLING_MS, "BROKEN"), (SETTLING_MS - 1, "HELD"), (1, "HELD")])
def test_a_joiner_is_asked_to_be_complete_if_it_had_the_time(by_ms: int, expected: str) -> None:
    # Given a robot that joined so long before the end and learnt nothing
    files = joined_before_the_end(by_ms)
    assert rows(files, "plan", robot="r03")[0]["id"] == f"{END_MS - by_ms}-0"
    # When it is judged, then only one that had twenty ticks is asked, and any other is named
    found = finding(files, "convergent")
    assert found[0] == expected, found
    assert ("joined too late to be asked: r03" in found[1]) == (expected == "HELD")
    assert ("r03 is not complete" in found[1]) == (expected == "BROKEN")


def test_a_joiner_that_came_too_late_is_no_witness_of_parts() -> None:
    # Given a part that nobody holds at the end but one who joined too late
    files = joined_before_the_end(SETTLING_MS - 1)
    for robot in ROBOTS:
        for row in rows(files, "journals", robot=robot, index=1) + rows(files, "journals", robot=robot, index=2):
            drop(files, "journals", row)
    # Then nobody is convicted for not having it
    assert state(files, "convergent") == "UNPROVEN"


def test_a_joiner_that_was_never_born_is_named_and_not_asked() -> None:
    # Given one who was told to join, and for whom there was no RQ worker any more
    scribe = begun()
    scribe.join("r03")
    files = written_by(scribe, "r01")
    # Then nothing is asked of it
    assert verdict_on(files).verdict == "HELD"
    assert finding(files, "convergent")[1].endswith("all 3 robots in scope are complete; joined, and never born: r03")
    # When it was told to wait, then that is why
    wait(files, "r03", GO_MS + 700)
    assert finding(files, "convergent")[1].endswith("; waiting for an RQ worker at the end: r03")


def test_a_joiner_that_died_before_the_end_is_not_asked(files: Files) -> None:
    drop(files, "events", named(files, "robot.left", "r03")[0])
    death(files, "r03", 1, END_MS - 500)
    drop(files, "journals", journal_part(files, "r03", 1))
    found = finding(files, "convergent")
    assert (found[0], found[1].endswith("; 1 were not alive")) == ("HELD", True), found


# Robots that are handed back.


def recalled(by_ms: int, reborn_ms: int | None = None) -> Files:
    """A record in which r02's RQ worker was told to end so long before the stop; r02 is born again after so long."""
    scribe = begun()
    scribe.now_ms = GO_MS + 1_500
    scribe.write("r01")
    scribe.now_ms = END_MS - by_ms
    scribe.emit("r02", RobotLeft("recalled"))
    if reborn_ms is not None:
        scribe.now_ms += reborn_ms
        scribe.born("r02")
        scribe.end(END_MS, *ROBOTS)
    else:
        scribe.end(END_MS, "r00", "r01")
    return files_of(scribe)


@pytest.mark.parametrize("reborn_ms", [10, 20_000])
def test_a_robot_that_was_recalled_and_born_again_is_held(reborn_ms: int) -> None:
    files = recalled(30_000, reborn_ms)
    assert verdict_on(files).verdict == "HELD"
    assert "all 3 robots in scope" in finding(files, "convergent")[1]
    assert verdict_on(files).lives == {"r02": 2}


@pytest.mark.parametrize(("by_ms", "expected"), [(LATE_MS + 1, "UNPROVEN"), (LATE_MS, "HELD")])
def test_a_robot_that_was_recalled_is_born_again_unless_the_run_ends_first(by_ms: int, expected: str) -> None:
    # Given a robot that was recalled, and not born again in the rest of the run
    files = recalled(by_ms)
    # Then nobody is to blame, but nothing shows that somebody could have taken it either
    assert state(files) == expected
    if expected == "UNPROVEN":
        assert finding(files)[1] == "r02 was recalled, and not born again in 5.03 s, nor told to wait"
    # And it is out of scope, even if it is not complete
    drop(files, "journals", journal_part(files, "r02", 0))
    drop(files, "journals", rows(files, "journals", robot="r02", entry="complete")[0])
    renumber(files, "r02")
    found = finding(files, "convergent")
    assert (found[0], found[1].endswith("; recalled, and not born again: r02")) == ("HELD", True), found


def test_a_robot_that_was_recalled_and_told_to_wait_waits() -> None:
    files = recalled(9_000)
    # Given one who was told to wait before, or another one
    wait(files, "r02", END_MS - 9_000 - 1_001)
    wait(files, "r00", END_MS - 8_000)
    assert "nor told to wait" in finding(files)[1]
    # When it is told to wait since, then that is said
    wait(files, "r02", END_MS - 8_000)
    assert finding(files) == ("UNPROVEN", "r02 waits since it was recalled: no RQ worker is free")
    assert finding(files, "convergent")[1].endswith("; waiting for an RQ worker at the end: r02")


def test_the_absence_of_the_server_is_no_time_for_a_birth() -> None:
    files = recalled(20_000)
    assert state(files) == "UNPROVEN"
    files["fleet"].append({"id": f"{END_MS - LATE_MS}-0", "row": "deed", "text": "restart redis", "victim": "redis"})
    assert state(files) == "HELD"


def test_a_robot_that_was_recalled_before_its_last_life_is_not_missed() -> None:
    # Given a robot that was recalled, born again, and died at last
    files = recalled(30_000, 10)
    drop(files, "events", named(files, "robot.left", "r02")[1])
    death(files, "r02", 2, END_MS - 1_000)
    # Then it is one that is not alive
    assert finding(files, "convergent")[1].endswith("; 1 were not alive")
    assert state(files) == "HELD"


# Runs that their server lost.


def lost(files: Files, *gone: str) -> Files:
    """Let the server have come back without these."""
    files["settings"]["ended"] = "lost"
    empty: dict[str, Any] = {
        "plan": [],
        "fates": [],
        "fleet": [],
        "journals": [{"robot": robot, "lost": True} for robot in [*ROBOTS, "r03"]],
        "register": {"exists": False, "write": None, "births": {robot: [] for robot in ROBOTS}},
        "streams": {
            "outboxes": {"0": {"added": 0, "last": "0-0"}},
            "inboxes": {robot: {"added": 0, "left": 0} for robot in ROBOTS},
            "contradictions": {},
            "orders": [],
        },
    }
    return files | {name: empty[name] for name in gone}


STREAMS = ("plan", "fates", "journals", "fleet", "register", "streams")
SUBSETS = [[name for place, name in enumerate(STREAMS) if number >> place & 1] for number in range(2 ** len(STREAMS))]


@pytest.mark.parametrize("gone", SUBSETS, ids="-".join)
def test_the_loss_of_a_run_convicts_nobody_and_proves_nothing(gone: list[str], files: Files) -> None:
    # Given an honest run with a death in it, of which the server came back without some streams, or with all
    death(files, "r03", 1, END_MS - LATE_MS + 1)
    drop(files, "events", named(files, "robot.left", "r03")[0])
    assert verdict_on(files).verdict == "HELD"
    # When it is judged
    result = verdict_on(lost(files, *gone))
    # Then every promise is UNPROVEN, for a reason that says what is gone, and no check crashed
    assert {promise.state for promise in result.promises.values()} == {"UNPROVEN"}
    for name, promise in result.promises.items():
        assert any(word in promise.why for word in ("lost", "gone", "not in")), (name, promise.why)
        assert "crashed" not in promise.why.partition(":")[0]
    assert (result.exit_code, result.ended) == (3, "lost")
    assert not any("None" in line for line in list(verdict_lines(result.json))[:-3])


def test_an_empty_record_of_a_lost_run_says_what_is_lost(files: Files, tmp_path: Path) -> None:
    # Given a record for which the server had nothing left
    folder = put(tmp_path / "abc123", lost(files, *STREAMS), secret=None)
    result = judge(load(folder))
    assert result.exit_code == 3
    whys = {name: promise.why for name, promise in result.promises.items()}
    came_back = "the run was lost: the server came back without its"
    assert whys["once"] == f"{came_back} register"
    assert whys["monotonic"] == f"{came_back} journals"
    assert whys["honest faults"] == f"{came_back} plan"
    assert "what was written is not known (ended: lost)" in next(verdict_lines(result.json))
    # When its files are not even there, then that is said
    for name in STREAMS:
        next(folder.glob(f"{name}.json*")).unlink()
    result = judge(load(folder))
    assert result.exit_code == 3
    assert {promise.state for promise in result.promises.values()} == {"UNPROVEN"}


def test_what_was_begun_anew_after_the_loss_convicts_nobody(files: Files) -> None:
    # Given a server that came back with nothing, where a relay wrote the fates that it had in hand, and the parent an
    # order to stop
    bare = lost(files, "plan", "journals", "fleet", "register", "streams")
    bare["streams"]["orders"] = [{"id": f"{END_MS}-0", "order": "stop", "reason": "lost"}]
    # When it is judged, then neither their number nor their kind is held against anybody
    assert {promise.state for promise in verdict_on(bare).promises.values()} == {"UNPROVEN"}
    # Nor when plan and fates are there, which its counters do not know
    counted = lost(files, "streams")
    counted["streams"]["orders"] = bare["streams"]["orders"]
    assert finding(counted, "accounted") == ("UNPROVEN", "the run was lost: the server came back without its orders")
    # Nor when only one outbox has its plan
    files = lost(files, "streams")
    files["plan"] = [control for control in files["plan"] if control["shard"] == 0]
    assert "BROKEN" not in {promise.state for promise in verdict_on(files).promises.values()}
    # Nor when the register is there, and the birth stream of its writer is not
    files["register"]["births"] = {}
    assert "BROKEN" not in {promise.state for promise in verdict_on(files).promises.values()}


def test_entries_without_a_fate_are_explained_by_the_loss(files: Files) -> None:
    death(files, "r03", 1, END_MS + 1)
    files = lost(files)
    drop(files, "fates", next(row for row in files["fates"] if row["deliveries"]))
    found = finding(files, "accounted")
    assert (found[0], found[1].endswith("have no fate, but the run was lost")) == ("UNPROVEN", True), found
    files["streams"]["outboxes"] = {shard: {"added": 1, "last": "0-0"} for shard in ("0", "1")}
    found = finding(files, "accounted")
    assert (found[0], found[1].endswith("ever had, but the run was lost")) == ("UNPROVEN", True), found


def test_a_birth_of_which_only_a_lost_outbox_told_is_not_missed(files: Files) -> None:
    # Given a robot that died long before the end, and was born again at once
    death(files, "r03", 1, END_MS - 30_000)
    born = {"control": "born", "robot": "r03", "incarnation": 2}
    files["plan"].append({"shard": 1, "id": f"{END_MS - 29_950}-0", **born})
    assert state(files) == "HELD"
    # When its outbox is lost with all that stood there
    files = lost(files)
    for name in ("plan", "fates"):
        files[name] = [row for row in files[name] if row["shard"] == 0]
    # Then nothing shows that it was not
    assert finding(files) == ("UNPROVEN", "the run was lost: the server came back without its plan")


def test_what_convicts_in_a_lost_run_still_convicts(files: Files) -> None:
    files = lost(files, "fates", "plan", "journals")
    files["register"]["write"]["text"] = "another"
    assert state(files, "right") == "BROKEN"


def test_a_run_that_was_not_lost_is_not_excused_by_empty_files(files: Files) -> None:
    for name in ("register", "journals", "fates", "streams"):
        ended = lost(dict(files), name) | {"settings": {**files["settings"], "ended": "complete"}}
        promises = verdict_on(ended).promises
        assert any(promise.state != "HELD" for promise in promises.values())
        assert not any("the run was lost" in promise.why for promise in promises.values())
    assert len(PROMISES) == len(promises)
