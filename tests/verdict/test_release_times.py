"""Honest faults, for the times at which copies came: a relay holds them back as long as their fates say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from telemetry.events import MessageReceived, ProcessDied
from tests.verdict.alterations import injection
from tests.verdict.judged import finding
from tests.verdict.planned_record import planned
from tests.verdict.scribe import GO_MS, Files

PLAN = ["delay 50ms", "duplicate 0.3", "loss 0.1"]


def received(files: Files, row: dict[str, Any], copy: int, at_ms: int) -> None:
    """Let the receiver of an envelope report that a copy was put into its inbox then."""
    address = row["sender"], row["incarnation"], row["sequence"], copy
    event = MessageReceived(*address, row["kind"], row["exchange"], 0, f"{at_ms}-0")
    stamp = {"run": "abc123", "incarnation": 1, "number": len(files["events"]), "wall_us": at_ms * 1000}
    stamped = {"source": row["receiver"], **stamp, "monotonic_us": 0, "event": msgspec.to_builtins(event)}
    files["events"].append(stamped)


def due_ms(row: dict[str, Any], copy: int) -> int:
    return int(row["id"].split("-")[0]) + -(-row["deliveries"][copy] // 1000)


def received_by(files: Files, early_ms: int, first: int = 0, last: int | None = None) -> Files:
    """Let all copies have come, those of some envelopes so much before their time."""
    for number, row in enumerate(files["fates"]):
        is_early = first <= number and (last is None or number < last)
        for copy in range(len(row["deliveries"])):
            received(files, row, copy, due_ms(row, copy) - is_early * early_ms)
    return files


def state(files: Files) -> tuple[str, str]:
    return finding(files, "honest faults")


@pytest.mark.parametrize("plan", [PLAN, ["partition hold r00|r01 @1s+3s", "delay 5ms..20ms"], ["throttle 5/s"]])
@pytest.mark.parametrize("late_ms", [0, 3, 400])
def test_copies_that_come_in_time_or_later_are_held(plan: list[str], late_ms: int) -> None:
    files = received_by(planned(plan, seconds=6), -late_ms)
    assert state(files)[0] == "HELD"
    files["settings"]["mode"] = "simulated"
    assert state(files)[0] == "HELD"


def test_a_relay_that_holds_no_delay_is_broken() -> None:
    # Given a relay that released every copy as it came, under a delay of 50 ms
    found, why = state(received_by(planned(PLAN, seconds=3), 45))
    # Then no error of a clock explains that of all copies
    assert (found, "delayed copies came before their time" in why) == ("BROKEN", True)
    assert "(witness: outbox" in why
    # But so few of them may be an error, and so may a few milliseconds
    assert state(received_by(planned(PLAN, seconds=3), 45, last=6))[0] == "HELD"
    assert state(received_by(planned(PLAN, seconds=3), 9))[0] == "HELD"


def test_a_single_copy_that_comes_far_too_early_is_broken() -> None:
    # Given a partition that holds envelopes for three seconds, and one that leaked
    files = planned(["partition hold r00|r01 @1s+3s"], seconds=6)
    place = max(range(len(files["fates"])), key=lambda number: sum(files["fates"][number]["deliveries"]))
    assert files["fates"][place]["deliveries"][0] > 2_000_000
    leaked = received_by(files, 1_000, first=place, last=place + 1)
    # Then it is BROKEN
    found, why = state(leaked)
    assert (found, "1000 ms" in why or "999 ms" in why) == ("BROKEN", True)


def test_a_simulated_relay_knows_the_time_exactly() -> None:
    # Given one copy that came two milliseconds before its time
    files = received_by(planned(PLAN, seconds=3), 2, first=3, last=5)
    # Then a live relay's clock may have been wrong, and a simulated one's may not
    assert state(files)[0] == "HELD"
    files["settings"]["mode"] = "simulated"
    assert state(files)[0] == "BROKEN"


def test_a_server_whose_clock_was_set_back_shows_nothing() -> None:
    # Given copies of a relay that seems to have released them early, and one that came before it was sent
    files = received_by(planned(PLAN, seconds=3), 45)
    received(files, files["fates"][-1], 0, int(files["fates"][-1]["id"].split("-")[0]) - 40)
    found, why = state(files)
    assert (found, "clock was set back" in why) == ("UNPROVEN", True)


def test_a_relay_that_is_ended_in_order_releases_what_it_holds() -> None:
    # Given copies that came early about the restart of their relays, in a run of three seconds
    files = received_by(planned(PLAN, seconds=3), 45)
    for shard in (0, 1):
        injection(files, "restart relay", f"relay:{shard}", GO_MS + 1_000)
    # Then that explains them, and so does the report that they ended
    assert state(files)[0] == "HELD"
    files = received_by(planned(PLAN, seconds=3), 45)
    for shard in (0, 1):
        event = msgspec.to_builtins(ProcessDied(f"relay:{shard}", 1, 0))
        files["events"].append({**files["events"][0], "number": 90 + shard, "wall_us": GO_MS * 1000, "event": event})
    assert state(files)[0] == "HELD"


def test_what_comes_after_the_order_to_stop_shows_nothing() -> None:
    # Given copies that relays released when the run was over, long before their time
    files = planned(["delay 20s"], seconds=3)
    for row in files["fates"]:
        for copy in range(len(row["deliveries"])):
            received(files, row, copy, GO_MS + 3_500)
    assert state(files)[0] == "HELD"


def test_a_copy_that_was_never_decided_is_broken() -> None:
    # Given a lost envelope of which a copy came all the same
    files = received_by(planned(PLAN, seconds=3), 0)
    lost = next(row for row in files["fates"] if not row["deliveries"])
    received(files, lost, 0, int(lost["id"].split("-")[0]) + 60)
    # Then it is BROKEN, unless the run was cut off, and a later fate may be missing
    found, why = state(files)
    assert (found, "was never decided" in why) == ("BROKEN", True)
    files["settings"]["ended"] = "interrupted"
    assert state(files)[0] == "HELD"


def test_a_contradictory_update_of_the_lab_has_no_fate_and_convicts_no_relay() -> None:
    files = received_by(planned(PLAN, seconds=3), 0)
    received(files, files["fates"][0] | {"incarnation": 1 << 32}, 0, GO_MS + 5)
    assert state(files)[0] == "HELD"


def test_events_that_are_damaged_convict_no_relay() -> None:
    files = received_by(planned(PLAN, seconds=3), 45)
    files["events"][0]["event"] = {"name": "no.such.event"}
    assert state(files)[0] == "HELD"
