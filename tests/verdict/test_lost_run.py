"""Runs that their server lost: the loss breaks no promise and proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from telemetry.events import ServerForgot
from telemetry.plain.verdict import verdict_lines
from telemetry.verdict.case import load
from telemetry.verdict.judge import PROMISES, judge
from tests.verdict.alterations import death, drop, know_two_words, named
from tests.verdict.honest_record import put
from tests.verdict.judged import finding, state, verdict_on
from tests.verdict.scribe import END_MS, LATE_MS, ROBOTS, Files


def lost(files: Files, *gone: str) -> Files:
    """Let the server have come back without these."""
    files["settings"]["ended"] = "lost"
    empty: dict[str, Any] = {
        "plan": [],
        "fates": [],
        "fleet": [],
        "journals": [{"robot": robot, "entry": "lost"} for robot in [*ROBOTS, "r03"]],
        "register": {"exists": False, "writes": [], "births": {robot: [] for robot in ROBOTS}},
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
def test_the_loss_of_a_run_breaks_no_promise_and_proves_nothing(gone: list[str], grown_files: Files) -> None:
    # Given an honest run with a death in it, of which the server came back without some streams, or with all
    death(grown_files, "r03", 1, END_MS - LATE_MS + 1)
    drop(grown_files, "events", named(grown_files, "robot.left", "r03")[0])
    assert verdict_on(grown_files).verdict == "HELD"
    # When it is judged
    result = verdict_on(lost(grown_files, *gone))
    # Then every promise is UNPROVEN, for a reason that names what is gone, and no check crashed
    assert {promise.state for promise in result.promises.values()} == {"UNPROVEN"}
    for name, promise in result.promises.items():
        assert any(word in promise.why for word in ("lost", "gone", "not in")), (name, promise.why)
        assert "crashed" not in promise.why.partition(":")[0]
    assert (result.exit_code, result.ended) == (3, "lost")
    assert not any("None" in line for line in list(verdict_lines(result.json))[:-3])


def test_an_empty_record_of_a_lost_run_names_what_is_lost(grown_files: Files, tmp_path: Path) -> None:
    # Given a record for which the server had nothing left
    folder = put(tmp_path / "abc123", lost(grown_files, *STREAMS), secret=None)
    result = judge(load(folder))
    assert result.exit_code == 3
    whys = {name: promise.why for name, promise in result.promises.items()}
    came_back = "the run was lost: the server came back without its"
    assert whys["once"] == f"{came_back} register"
    assert whys["monotonic"] == f"{came_back} journals"
    assert whys["honest faults"] == f"{came_back} plan"
    assert "what was written is not known (ended: lost)" in next(verdict_lines(result.json))
    # When its files are not even there, then that is the reason
    for name in STREAMS:
        next(folder.glob(f"{name}.json*")).unlink()
    result = judge(load(folder))
    assert result.exit_code == 3
    assert {promise.state for promise in result.promises.values()} == {"UNPROVEN"}


def test_what_was_begun_anew_after_the_loss_breaks_no_promise(grown_files: Files) -> None:
    # Given a server that came back with nothing, where a relay wrote the fates of its unacknowledged entries,
    # and the parent an order to stop
    bare = lost(grown_files, "plan", "journals", "fleet", "register", "streams")
    bare["streams"]["orders"] = [{"id": f"{END_MS}-0", "order": "stop", "reason": "lost"}]
    # When it is judged, then neither their number nor their kind breaks a promise
    assert {promise.state for promise in verdict_on(bare).promises.values()} == {"UNPROVEN"}
    # Nor when plan and fates are there, which its counters do not know
    counted = lost(grown_files, "streams")
    counted["streams"]["orders"] = bare["streams"]["orders"]
    assert finding(counted, "accounted") == ("UNPROVEN", "the run was lost: the server came back without its orders")
    # Nor when only one outbox has its plan
    grown_files = lost(grown_files, "streams")
    grown_files["plan"] = [control for control in grown_files["plan"] if control["shard"] == 0]
    assert "BROKEN" not in {promise.state for promise in verdict_on(grown_files).promises.values()}
    # Nor when the register is there, and the birth stream of its writer is not
    grown_files["register"]["births"] = {}
    assert "BROKEN" not in {promise.state for promise in verdict_on(grown_files).promises.values()}


def test_entries_without_a_fate_are_explained_by_the_loss(grown_files: Files) -> None:
    death(grown_files, "r03", 1, END_MS + 1)
    grown_files = lost(grown_files)
    drop(grown_files, "fates", next(row for row in grown_files["fates"] if row["deliveries"]))
    found = finding(grown_files, "accounted")
    assert (found[0], found[1].endswith("have no fate, but the run was lost")) == ("UNPROVEN", True), found
    grown_files["streams"]["outboxes"] = {shard: {"added": 1, "last": "0-0"} for shard in ("0", "1")}
    found = finding(grown_files, "accounted")
    assert (found[0], found[1].endswith("ever had, but the run was lost")) == ("UNPROVEN", True), found


def test_a_birth_that_only_a_lost_outbox_held_is_not_missed(grown_files: Files) -> None:
    # Given a robot that died long before the end, and was born again at once
    death(grown_files, "r03", 1, END_MS - 30_000)
    born = {"control": "born", "robot": "r03", "incarnation": 2}
    grown_files["plan"].append({"shard": 1, "id": f"{END_MS - 29_950}-0", **born})
    assert state(grown_files) == "HELD"
    # When its outbox is lost with all that stood there
    grown_files = lost(grown_files)
    for name in ("plan", "fates"):
        grown_files[name] = [row for row in grown_files[name] if row["shard"] == 0]
    # Then nothing shows that it was not
    assert finding(grown_files) == ("UNPROVEN", "the run was lost: the server came back without its plan")


def test_what_convicts_in_a_lost_run_still_convicts(grown_files: Files) -> None:
    grown_files = lost(grown_files, "fates", "plan", "journals")
    grown_files["register"]["writes"][0]["text"] = "another"
    assert state(grown_files, "right") == "BROKEN"


def test_a_run_that_was_not_lost_is_not_excused_by_empty_files(grown_files: Files) -> None:
    for name in ("register", "journals", "fates", "streams"):
        ended = lost(dict(grown_files), name) | {"settings": {**grown_files["settings"], "ended": "complete"}}
        promises = verdict_on(ended).promises
        assert any(promise.state != "HELD" for promise in promises.values())
        assert not any("the run was lost" in promise.why for promise in promises.values())
    assert len(PROMISES) == len(promises)


OLDER = "the run was lost: the server came back older: "


def came_back_older(files: Files, event: ServerForgot, source: str = "lab", ended: str = "lost") -> Files:
    """Let a process have reported that the server came back older."""
    files["settings"]["ended"] = ended
    row = {**files["events"][0], "source": source, "number": 9, "incarnation": 0, "wall_us": END_MS * 1000}
    files["events"].append(row | {"event": msgspec.to_builtins(event)})
    return files


@pytest.mark.parametrize("ended", ["lost", "complete"])
@pytest.mark.parametrize(
    ("source", "what", "why"),
    [
        ("lab", "events", "lab missed events that it had read or stored"),
        ("r03", "entries", "r03 missed entries of its journal"),
        ("r03", "birth", "r03 missed its birth, or its attempt to write"),
        ("r03", "envelopes", "r03 missed envelopes in its outbox"),
        ("relay:0", "fates", "relay:0 missed fates that it had decided"),
        ("relay:0", "copies", "relay:0 missed copies that it had stored"),
        ("lab", "orders", "lab missed an order, a plan change or a row of the fleet log"),
    ],
)
def test_nothing_is_proven_once_a_process_has_missed_something_that_the_server_had(
    source: str, what: Any, why: str, ended: str, grown_files: Files
) -> None:
    # Given an honest record, in which a process reports a server that came back older
    came_back_older(grown_files, ServerForgot(what), source, ended)
    # When it is judged, then every promise is UNPROVEN, and the reason names the server
    result = verdict_on(grown_files)
    assert {promise.state for promise in result.promises.values()} == {"UNPROVEN"}
    assert {promise.why for promise in result.promises.values()} == {OLDER + why}


def without_last_entries(files: Files) -> None:
    """As if the journals had forgotten all that robots have learnt, of which events report."""
    files["journals"] = [row for row in files["journals"] if row["entry"] in ("header", "born") or row["id"] < "1"]


def without_write(files: Files) -> None:
    files["register"]["write"] = None
    for births in files["register"]["births"].values():
        births[:] = [row for row in births if row["entry"] == "born"]


def without_fates(files: Files) -> None:
    files["fates"] = files["fates"][:1]


def without_births(files: Files) -> None:
    files["plan"] = [row for row in files["plan"] if row["control"] != "born"]


def without_first_plan(files: Files) -> None:
    """The relays have decided by a plan that is gone."""
    for row in files["plan"]:
        if row["control"] == "plan":
            row["faults"] = [{"instance": 0, "fault": "loss 1"}]


FORGETTING = [without_last_entries, without_write, without_fates, without_births, without_first_plan]


@pytest.mark.parametrize("forget", FORGETTING)
def test_what_a_server_forgot_is_no_robots_guilt(forget: Callable[[Files], None], grown_files: Files) -> None:
    # Given a record that lacks something, and breaks promises or proves less
    forget(grown_files)
    before = verdict_on(grown_files)
    assert before.verdict != "HELD"
    # When a process reports that the server came back older
    result = verdict_on(came_back_older(grown_files, ServerForgot("events")))
    # Then nothing is BROKEN; and what would be keeps its witness in the reason
    assert {promise.state for promise in result.promises.values()} == {"UNPROVEN"}
    for name, promise in result.promises.items():
        assert promise.why.startswith(OLDER), (name, promise.why)
        if before.promises[name].state == "BROKEN":
            assert before.promises[name].why in promise.why or "missed" in promise.why


def test_the_forgotten_end_of_journals_would_be_held_against_robots_otherwise(grown_files: Files) -> None:
    without_last_entries(grown_files)

    assert state(grown_files, "monotonic") == "BROKEN"


def other_word(files: Files) -> None:
    files["register"]["writes"][0]["text"] = "another"


@pytest.mark.parametrize(
    ("promise", "damage"), [("right", other_word), ("unique", know_two_words), ("monotonic", know_two_words)]
)
def test_what_stands_in_the_record_convicts_whatever_the_server_forgot(
    promise: str, damage: Callable[[Files], None], grown_files: Files
) -> None:
    came_back_older(grown_files, ServerForgot("events"))
    damage(grown_files)

    assert state(grown_files, promise) == "BROKEN"
