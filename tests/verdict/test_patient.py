"""Patient: a life that writes, or tries to, was complete first, then quiet for its period."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry.events import MessageReceived, WorkerCrashed
from tests.verdict.alterations import (
    Damage,
    birth_ms,
    drop,
    injection,
    insert_event,
    journal_part,
    lose_journal,
    nothing_written,
    renumber,
    rows,
    wait_incomplete,
)
from tests.verdict.judged import assert_convicted, assert_unproven, verdict_on
from tests.verdict.scribe import GO_MS, ROBOTS, STOP_MS, TICK_US, Files

SHORTEST_US = TICK_US * 4 // 5


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


def rush(files: Files) -> None:
    complete = rows(files, "journals", robot="r01", entry="complete")[0]
    complete["at_us"] = quiet_of(files)["at_us"] - 100_000


def attempt_of(files: Files, robot: str) -> dict[str, Any]:
    [attempt] = [row for row in files["register"]["births"][robot] if row["entry"] == "attempt"]
    return dict(attempt)


def try_at(files: Files, robot: str, at_us: int) -> None:
    """Let the robot's attempt have been made then, by the server's clock."""
    for row in files["register"]["births"][robot]:
        if row["entry"] == "attempt":
            row["at_us"] = at_us


def merged_ms(files: Files, robot: str) -> int:
    """When the last part that a robot merged was sent."""
    sent = []
    for part in rows(files, "journals", robot=robot, entry="part"):
        if part["cause"]:
            sender, life, sequence, _ = part["cause"]
            fate = rows(files, "fates", sender=sender, incarnation=life, receiver=robot, sequence=sequence)[0]
            sent.append(int(fate["id"].split("-")[0]))
    return max(sent)


def count_too_many_ticks(files: Files, robot: str = "r01") -> None:
    """Too early, by the server's clock alone, for the ticks that the journal counts."""
    ticks = rows(files, "journals", robot=robot, entry="quiet")[0]["ticks"]
    try_at(files, robot, merged_ms(files, robot) * 1000 + (ticks - 1) * SHORTEST_US - 1)


def try_at_the_second_birth(files: Files) -> None:
    """r02's second life is born complete, counts ticks, and tries at once."""
    born = rows(files, "journals", robot="r02", id="2-1")[0]
    own = [row for row in files["journals"] if row["robot"] == "r02" and row["id"].startswith("2-")]
    place = files["journals"].index(born)
    for row in own:
        files["journals"].remove(row)
    parts = [row for row in own if row["entry"] == "part"]
    files["journals"][place:place] = [row | {"id": f"1-{n}"} for n, row in enumerate(parts, start=9)] + [born]
    quiet = {"robot": "r02", "id": "2-2", "entry": "quiet", "ticks": 10, "exchange": "", "at_us": STOP_MS * 1000}
    files["journals"].insert(files["journals"].index(born) + 1, quiet)
    renumber(files, "r02")
    at_us = (birth_ms(files, "r02", 2) + 9 * 80 - 1) * 1000
    attempt = {"id": "2-2", "entry": "attempt", "nonce": "r02-2", "at_us": at_us}
    files["register"]["births"]["r02"].append(attempt)


def try_before_go(files: Files) -> None:
    files["streams"]["orders"][1]["id"] = f"{attempt_of(files, 'r01')['at_us'] // 1000 - 9 * 80 + 1}-0"


BREACHES: dict[str, tuple[Damage, str]] = {
    "a write without quiet": (write_without_quiet, "journal of r01"),
    "too few quiet ticks": (lambda f: quiet_of(f).update(ticks=9), "journal of r01"),
    "a part while waiting": (merge_while_waiting, "journal of r01"),
    "waiting before being complete": (wait_incomplete, "journal of r01"),
    "a refused try without quiet": (try_without_quiet, "journal of r00, life 1"),
    "a refused try after too few ticks": (
        lambda f: rows(f, "journals", robot="r00", entry="quiet")[0].update(ticks=9),
        "journal of r00",
    ),
    "a try with no quiet tick at all": (lambda f: quiet_of(f).update(ticks=0), "journal of r01"),
    "a write too soon for its ticks": (count_too_many_ticks, "birth stream of r01, entry 1-2"),
    "a refused try too soon for its ticks": (
        lambda f: count_too_many_ticks(f, "r00"),
        "birth stream of r00, entry 1-2",
    ),
    "a second life that tries at its birth": (try_at_the_second_birth, "birth stream of r02, entry 2-2"),
    "ticks from before the order go": (try_before_go, "birth stream of r00, entry 1-2"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "patient", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "no writer": (nothing_written, "nothing was written"),
    "the writer's lost journal": (lambda f: lose_journal(f, "r01"), "r01"),
    "a quiet that is recorded after the write": (
        lambda f: quiet_of(f).update(at_us=quiet_of(f)["at_us"] + 1_000_001),
        "clocks of r01 and of the server disagree",
    ),
    "ticks that had no time": (rush, "clock and the ticks of r01 disagree"),
    "ticks without a summary": (
        lambda f: [row.update(kind="update") for row in rows(f, "fates", sender="r01", kind="summary")],
        "r01/1 counted 10 ticks, and the fates show no summary of it",
    ),
    "a loser's clock": (
        lambda f: rows(f, "journals", robot="r00", entry="complete")[0].update(at_us=(GO_MS + 1_450) * 1000),
        "clock and the ticks of r00 disagree",
    ),
    "a loser's lost journal": (lambda f: lose_journal(f, "r00"), "journal of r00, which tried to write"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "patient", *DOUBTS[doubt])


def test_as_much_time_as_the_ticks_take_is_enough(files: Files) -> None:
    count_too_many_ticks(files)
    try_at(files, "r01", attempt_of(files, "r01")["at_us"] + 1)
    assert verdict_on(files).promises["patient"].state == "HELD"


@pytest.mark.parametrize("is_injected", [True, False])
def test_an_initiator_that_crashed_may_have_begun_a_tick_early(is_injected: bool, files: Files) -> None:
    # Given an attempt that is one tick too early
    count_too_many_ticks(files)
    try_at(files, "r01", attempt_of(files, "r01")["at_us"] + 1 - SHORTEST_US)
    assert verdict_on(files).promises["patient"].state == "BROKEN"
    # When the worker that counts ticks crashed meanwhile, then its next phase began anew
    if is_injected:
        injection(files, "crash r01/gossip_initiator", "r01/gossip_initiator", GO_MS + 200)
    else:
        insert_event(files, "r01", 1, WorkerCrashed("gossip_initiator", "KeyError: 3"), 300_000)
    assert verdict_on(files).promises["patient"].state == "HELD"


@pytest.mark.parametrize("by_us", [-100_000, 100_000, -1_000_000, 1_000_000])
def test_clocks_that_differ_a_little_convict_no_writer(by_us: int, files: Files) -> None:
    for robot in ROBOTS:
        shift_clock(files, robot, by_us)
    assert verdict_on(files).promises["patient"].state == "HELD"


def test_clocks_alone_never_convict(files: Files) -> None:
    for by_us in (-3_600_000_000, 3_600_000_000):
        shift_clock(files, "r01", by_us)
        assert verdict_on(files).promises["patient"].state != "BROKEN"


def set_back(files: Files, by_us: int, *clocks: str) -> None:
    """Let these clocks have been set back by so much before all attempts, and after all robots were complete."""
    at_us = (GO_MS + 1_400) * 1000
    if "server" in clocks:
        for robot in ROBOTS:
            for row in files["register"]["births"][robot]:
                if row["entry"] == "attempt":
                    row["at_us"] -= by_us
    if "robots" in clocks:
        for row in files["journals"]:
            row.update({"at_us": row["at_us"] - by_us} if row.get("at_us", 0) > at_us else {})
        for row in files["events"]:
            row["wall_us"] -= by_us * (row["wall_us"] > at_us)


@pytest.mark.parametrize("by_us", [1_200_000, 5_000_000])
def test_a_host_whose_clock_is_set_back_convicts_no_robot(by_us: int, files: Files) -> None:
    set_back(files, by_us, "server", "robots")
    assert verdict_on(files).promises["patient"].state == "UNPROVEN"


def test_a_server_that_seems_to_have_been_asked_before_its_order_was_set_back(files: Files) -> None:
    # Given robots of other hosts, of which the clocks run on
    set_back(files, 5_000_000, "server")
    found = verdict_on(files).promises["patient"]
    assert (found.state, "the server's clock was set back" in found.why) == ("UNPROVEN", True)


def test_a_server_that_stored_a_copy_before_it_was_sent_was_set_back(files: Files) -> None:
    count_too_many_ticks(files)
    assert verdict_on(files).promises["patient"].state == "BROKEN"
    # When an inbox shows a copy that came a second before its envelope was sent
    sent = rows(files, "fates", sender="r00", receiver="r01", fate="delivered")[-1]
    came = f"{int(sent['id'].split('-')[0]) - 1_000}-0"
    insert_event(files, "r01", 1, MessageReceived("r00", 1, sent["sequence"], 0, sent["kind"], "00" * 8, 0, came), 900)
    assert verdict_on(files).promises["patient"].state == "UNPROVEN"


def test_a_clock_that_was_set_back_by_less_than_what_is_missing_explains_nothing(files: Files) -> None:
    # Given an attempt half a second too early, and clocks of robots that were set back by a fifth of one
    set_back(files, 200_000, "robots")
    at_us = attempt_of(files, "r01")["at_us"]
    try_at(files, "r01", merged_ms(files, "r01") * 1000 + 9 * SHORTEST_US - 500_000)
    assert at_us > attempt_of(files, "r01")["at_us"]
    assert verdict_on(files).promises["patient"].state == "BROKEN"


def test_a_clock_that_was_set_forward_explains_no_attempt_that_is_too_early(files: Files) -> None:
    count_too_many_ticks(files)
    for row in files["events"]:
        row["wall_us"] += 9_000_000 * (row["wall_us"] > (GO_MS + 1_400) * 1000)
    assert verdict_on(files).promises["patient"].state == "BROKEN"
