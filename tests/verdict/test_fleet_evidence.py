"""The evidence of the fleet: missing, damaged, or without the death that explains a silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry.verdict.case import case_of, load
from telemetry.verdict.judge import judge
from tests.verdict.alterations import birth_ms
from tests.verdict.honest_record import SECRET, honest, put
from tests.verdict.judged import finding, state, verdict_on
from tests.verdict.scribe import GO_MS, Files


def test_a_record_without_a_fleet_is_judged_as_far_as_it_goes(tmp_path: Path) -> None:
    # Given a record whose injections and deaths are missing
    files = honest()[0]
    del files["fleet"]
    # When it is judged
    result = judge(load(put(tmp_path / "abc123", files)))
    # Then what only injections and deaths show is UNPROVEN
    unproven = {name for name, promise in result.promises.items() if promise.state != "HELD"}
    assert unproven == {"monotonic", "unique", "convergent", "supervised", "frugal", "played"}
    assert {result.promises[name].why for name in unproven} == {"fleet.jsonl is missing"}
    assert (result.verdict, result.whole_run.recoveries, result.whole_run.lives) == ("UNPROVEN", None, {"r02": 2})


@pytest.mark.parametrize("promise", ["supervised", "monotonic", "unique", "convergent", "frugal", "played"])
def test_a_fleet_that_is_damaged_shows_nothing(promise: str, longer_files: Files) -> None:
    longer_files["fleet"][0]["how"] = "old age"
    assert finding(longer_files, promise)[0] == "UNPROVEN"
    assert "fleet.jsonl is damaged" in finding(longer_files, promise)[1]


def test_a_life_that_ended_without_a_last_event_needs_a_recorded_death(longer_files: Files) -> None:
    # Given r02/1, whose tail is lost: what explains it is its death, by its number or by its time
    assert state(longer_files, "monotonic") == "HELD"
    longer_files["fleet"][0]["incarnation"] = 2
    assert state(longer_files, "monotonic") == "HELD"
    # When the only death of it is another one's, of another time, or gone
    at_ms = birth_ms(longer_files, "r02", 2)
    for change in ({"robot": "r01"}, {"id": f"{GO_MS - 100}-0"}, {"id": f"{at_ms + 5_001}-0"}):
        altered = longer_files | {"fleet": [longer_files["fleet"][0] | change]}
        for promise in ("monotonic", "unique"):
            assert finding(altered, promise)[0] == "UNPROVEN", change
            assert "the tail of r02/1 is not in the record, and no death of it" in finding(altered, promise)[1]
    assert {state(longer_files | {"fleet": []}, promise) for promise in ("monotonic", "supervised")} == {"UNPROVEN"}
    assert (
        state(longer_files | {"fleet": [longer_files["fleet"][0] | {"id": f"{at_ms + 4_999}-0"}]}, "monotonic")
        == "HELD"
    )


def test_an_acknowledgement_is_evidence_of_nothing_but_the_answer(longer_files: Files) -> None:
    # Given a record in which a request for a process fault was acknowledged before a death, and no injection followed
    answer = {"request_id": "1-0", "request": "set kill r02", "refusal": ""}
    acknowledged = {"id": f"{GO_MS}-0", "row": "acknowledgement", **answer}
    altered = longer_files | {"fleet": [acknowledged, *longer_files["fleet"]]}
    # When it is judged, then every promise is as it was without it
    without, judged = verdict_on(longer_files).promises, verdict_on(altered).promises
    assert {name: promise.state for name, promise in judged.items() if name != "played"} == {
        name: promise.state for name, promise in without.items() if name != "played"
    }
    # but for the plan, which now wants that injection
    assert (judged["played"].state, "'kill r02' was due" in judged["played"].why) == ("UNPROVEN", True)
    # and one that does not say what was answered is damage
    del acknowledged["request"]
    assert "fleet.jsonl is damaged" in finding(altered, "supervised")[1]


def test_a_failure_excuses_no_death_and_is_known_to_the_judge_though_no_event_reports_it(longer_files: Files) -> None:
    # Given a record with a death, and the same with an injection that failed before it
    failure = {"id": f"{GO_MS}-0", "row": "failure", "verb": "kill", "target": "r02", "why": "there is no r02 now"}
    files = longer_files | {"fleet": [failure, *longer_files["fleet"]]}
    # When they are loaded
    case, before = (case_of("runs/abc123", content, SECRET) for content in (files, longer_files))
    # Then the failure is known, and is no injection
    assert case.failed_injections - before.failed_injections == {("kill", "r02")}
    assert case.fleet.injections == before.fleet.injections
    assert case.fleet.deaths == before.fleet.deaths
    # and one that does not say why is damage
    del failure["why"]
    assert "fleet.jsonl is damaged" in finding(files, "supervised")[1]
