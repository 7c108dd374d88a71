"""Honest faults: every fate is that of plan and dice, and no rate is beyond chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.verdict.alterations import REFUSED, Damage, decide_twice, deliver_the_stale, drop, one, rows
from tests.verdict.honest_record import sent_under
from tests.verdict.judged import assert_convicted, assert_unproven, verdict_on
from tests.verdict.scribe import GO_MS, Files

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


def throttled(row: dict[str, Any], kind: str, wait_us: int) -> dict[str, Any]:
    """The fate as a relay records it whose throttle, if it has one, let the envelope wait."""
    throttles = [
        {"instance": number, "fault": text} for number, text in enumerate(KINDS[kind]) if text.startswith("throttle")
    ]
    deliveries = [due + wait_us for due in row["deliveries"]]
    return {**row, "deliveries": deliveries, "faults": [*row["faults"], *throttles]}


def another_fault(row: dict[str, Any]) -> None:
    row["faults"] = [*row["faults"], {"instance": 97, "fault": "loss 0.2"}]


def no_fault(row: dict[str, Any]) -> None:
    row["faults"] = row["faults"][1:]
    assert row["deliveries"] != [0], "no fault changed it"


def another_state(row: dict[str, Any]) -> None:
    row["fate"] = "delivered" if row["fate"] == "corrupt" else "corrupt"


def stale(row: dict[str, Any]) -> None:
    row["fate"] = "stale"


@pytest.mark.parametrize(
    "alter", [sooner, later_by_one_copy, a_copy_more, a_copy_less, another_fault, no_fault, another_state, stale]
)
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
    row |= throttled(row, kind, 1_000)
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
    files["fates"].append({"row": "redo", "shard": row["shard"], "stored": row["id"], "redo": [row["id"]]})
    again = throttled(row, kind, 70_000)
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


def test_what_is_held_back_for_ever_has_no_fate_and_convicts_no_relay() -> None:
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
    found = verdict_on(files | {"fates": [*files["fates"], invented]}).promises["honest faults"]
    assert (found.state, "its dice say held" in found.why) == ("BROKEN", True)
    drop(files, "fates", other)
    finding = verdict_on(files).promises["accounted"]
    assert (finding.state, "r00/1's envelope" in finding.why) == ("BROKEN", True)


@pytest.mark.parametrize("fault", ["loss 0.2", "duplicate 0.2", "reorder 0.2", "corrupt 0.2"])
def test_a_rate_beyond_chance_is_broken_although_every_fate_is_right(fault: str) -> None:
    # Given a record of which only those envelopes remain that the fault acted on, each with its right fate
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
    # But a single envelope that is put there again and again shows nothing
    files["fates"] = [{**chosen[0], "id": f"{GO_MS + 1000 + number}-0"} for number in range(400)]
    assert verdict_on(files).promises["honest faults"].state == "HELD"


def test_a_fault_that_the_judge_does_not_know_leaves_faults_unproven(files: Files) -> None:
    files["plan"][0]["faults"][0]["fault"] = "gremlins 0.2"
    result = verdict_on(files)
    assert result.promises["honest faults"].state == "UNPROVEN"
    assert "gremlins" in result.promises["honest faults"].why
    assert result.verdict == "UNPROVEN"


def deliver_what_was_lost(files: Files) -> None:
    one(files, 0)["deliveries"] = [6_000]


def deliver_later(files: Files) -> None:
    one(files, 1)["deliveries"][0] += 1


def refuse_an_envelope(files: Files) -> None:
    one(files, 1)["fate"] = "refused"


def refuse_as_garbage(files: Files, copies: int = 1) -> None:
    one(files, copies).update(REFUSED)


BREACHES: dict[str, tuple[Damage, str]] = {
    "a lost envelope that came": (deliver_what_was_lost, "outbox"),
    "a copy that is too late": (deliver_later, "outbox"),
    "an older life's envelope that came": (deliver_the_stale, "outbox"),
    "an entry of two fates": (decide_twice, "outbox"),
    "an envelope taken for garbage": (refuse_an_envelope, "outbox"),
    "an envelope dropped as garbage": (refuse_as_garbage, "outbox"),
    "a lost envelope dropped as garbage": (lambda f: refuse_as_garbage(f, 0), "outbox"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_convicted_with_a_witness(breach: str, files: Files) -> None:
    assert_convicted(files, "honest faults", *BREACHES[breach])


DOUBTS: dict[str, tuple[Damage, str]] = {
    "no envelope at all": (lambda f: f["fates"].clear(), "no envelopes to check"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_shown_is_unproven_with_the_reason(doubt: str, files: Files) -> None:
    assert_unproven(files, "honest faults", *DOUBTS[doubt])
