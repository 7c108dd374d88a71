"""Accounted: every entry of an outbox has its fate, and every copy stands in an inbox."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from telemetry.events import MessageRefused, ProcessStarted
from telemetry.plain.verdict import verdict_lines
from telemetry.verdict.figures import Repeated
from tests.verdict.alterations import (
    REFUSED,
    Damage,
    count_one,
    death,
    decide_twice,
    drop,
    fleet_row,
    insert_event,
    lose_a_copy,
    one,
    relay_death,
    reported,
    rows,
)
from tests.verdict.judged import assert_convicted, assert_unproven, finding, state, verdict_on
from tests.verdict.scribe import END_MS, GO_MS, STOP_MS, Files


def lose_a_fate(files: Files) -> None:
    drop(files, "fates", one(files, 0))


def invent_a_fate(files: Files) -> None:
    files["fates"].append({**rows(files, "fates", fate="stale")[0], "id": f"{GO_MS + 3000}-0", "sequence": 99})


def lose_a_control(files: Files) -> None:
    drop(files, "plan", files["plan"][-1])


BREACHES: dict[str, tuple[Damage, str]] = {
    "an entry with unequal records": (decide_twice, "outbox"),
    "a fate that is missing": (lose_a_fate, "envelope"),
    "a control entry that is missing": (lose_a_control, "outbox 0"),
    "a fate of no entry": (invent_a_fate, "outbox 0"),
    "a copy too many": (lambda f: count_one(f, "r01", 1), "inbox of r01"),
    "a copy that vanished": (lambda f: count_one(f, "r01", -1), "inbox of r01"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "accounted", *BREACHES[breach])


def forget_an_entry(files: Files) -> None:
    row = one(files, 0)
    drop(files, "fates", row)
    files["streams"]["outboxes"][str(row["shard"])]["added"] -= 1


DOUBTS: dict[str, tuple[Damage, str]] = {
    "an envelope without an entry": (forget_an_entry, "no outbox entry is left for it"),
    "an inbox that was not counted": (lambda f: f["streams"]["inboxes"].pop("r01"), "r01's inbox"),
    "an outbox that was not counted": (lambda f: f["streams"]["outboxes"].pop("1"), "outbox 1"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "accounted", *DOUBTS[doubt])


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
    assert state(files, "accounted") == "BROKEN"
    # When another process died, or the relay ended in order, then that explains nothing
    relay_death(files, 7, STOP_MS)
    death(files, "r02", 1, STOP_MS, victim="rq:r02")
    relay_death(files, shard, STOP_MS, "exit", 0)
    assert state(files, "accounted") == "BROKEN"
    # When the relay died, then that is the reason
    relay_death(files, shard, STOP_MS + 1)
    found = finding(files, "accounted")
    assert (found[0], "its relay died and was not replaced" in found[1]) == ("UNPROVEN", True)
    # But not when it was replaced, unless the later one died as well
    reported(files, ProcessStarted(f"relay:{shard}", 4713), STOP_MS + 2)
    assert state(files, "accounted") == "BROKEN"
    relay_death(files, shard, STOP_MS + 3)
    assert state(files, "accounted") == "UNPROVEN"


def test_garbage_that_was_put_into_an_outbox_by_hand_is_refused_rightly(files: Files) -> None:
    # Given an entry that no robot sent
    for shard, outbox in files["streams"]["outboxes"].items():
        files["fates"].append({"row": "fate", "shard": int(shard), "id": f"{STOP_MS}-7", "wire": 60, **REFUSED})
        outbox["added"] += 1
    # When it is judged, then nothing speaks against the relay
    assert verdict_on(files).verdict == "HELD"
    # Nor when another envelope's fate is missing because the run was interrupted
    drop(files, "fates", one(files, 0))
    files["settings"]["ended"] = "interrupted"
    result = verdict_on(files)
    assert (result.promises["honest faults"].state, result.promises["accounted"].state) == ("HELD", "UNPROVEN")


def test_entries_that_were_redone_may_have_more_copies(files: Files) -> None:
    # Given a relay that redid an entry of two copies to r01, recorded it again, and put one copy out twice
    row = next(row for row in rows(files, "fates", receiver="r01") if len(row["deliveries"]) == 2)
    files["fates"] += [{"row": "redo", "shard": row["shard"], "stored": row["id"], "redo": [row["id"]]}, dict(row)]
    for surplus, expected in ((0, "HELD"), (1, "HELD"), (2, "HELD"), (3, "BROKEN")):
        # When the inbox has got so many more
        count_one(files, "r01", surplus)
        # Then as many as were redone are accounted for, and not one more
        result = verdict_on(files)
        assert result.promises["accounted"].state == expected
        count_one(files, "r01", -surplus)
        # And they are counted apart
        assert result.whole_run.repeated == Repeated(redone=1, copies=surplus)
        again = f"{surplus} {'copy' if surplus == 1 else 'copies'} came again"
        assert f"  relays      successors decided 1 envelope again; {again}" in list(verdict_lines(result.json))


def test_contradictions_of_the_lab_are_no_copies(files: Files) -> None:
    count_one(files, "r01", 1)
    files["streams"]["contradictions"] = {"r01": 1}
    assert verdict_on(files).promises["accounted"].state == "HELD"


def test_a_relay_whose_death_is_in_the_fleet_log_explains_what_is_missing(longer_files: Files) -> None:
    shard = lose_a_copy(longer_files)
    assert state(longer_files, "accounted") == "BROKEN"
    relay_death(longer_files, 7, END_MS)
    assert state(longer_files, "accounted") == "BROKEN"
    fleet_row(
        longer_files, END_MS, row="death", victim=f"relay:{shard}", robot="", incarnation=0, how="signal", status=-9
    )
    assert state(longer_files, "accounted") == "UNPROVEN"


def test_an_inbox_that_other_clients_wrote_into_leaves_a_doubt(files: Files) -> None:
    # Given an inbox with one entry more than was decided
    files["streams"]["inboxes"]["r00"]["added"] += 1
    assert state(files, "accounted") == "BROKEN"
    # When the robot reports that it refused one that was no envelope, and that as often as it read it
    for _ in range(2):
        insert_event(files, "r00", 1, MessageRefused("1-0", "frame of 0 bytes, allowed are 5 to 74240"), STOP_MS)
    assert finding(files, "accounted")[0] == "UNPROVEN"
    assert "other clients wrote there" in finding(files, "accounted")[1]
    # But one that it refused because its checksum was bad explains nothing
    files["streams"]["inboxes"]["r00"]["added"] += 1
    insert_event(files, "r00", 1, MessageRefused("2-0", "bad checksum"), STOP_MS)
    assert state(files, "accounted") == "BROKEN"
