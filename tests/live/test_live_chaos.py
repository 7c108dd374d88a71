"""Chaos as data on a live fleet: the promises hold whatever is killed, paused or restarted, and nothing is left."""

from typing import Any

import pytest

from tests.support.live_place import LIVE, Place, not_held

pytestmark = LIVE


def events(place: Place, name: str) -> list[dict[str, Any]]:
    return [row["event"] for row in place.events() if row["event"]["name"] == name]


@pytest.mark.long
def test_robots_and_rq_workers_that_are_restarted_end_in_order_and_none_dies(place: Place) -> None:
    # Given an RQ worker that is recalled, a process of each kind that is paused, and goes on before its time,
    paused = ("pause r01 @1500ms+10m", "pause rq:r04 @1500ms+10m", "pause relay:0 @1500ms+10m")
    resumed = ("resume r01 @2500ms", "resume rq:r04 @2500ms", "resume relay:0 @2s")
    # and then, when no robot must be there by its name, robots of which any one is recalled again and again
    recalls = ("--restart", "rq:r02@500ms", "--chaos", "restart robot @2600ms every 400ms")
    pauses = [word for injection in (*paused, *resumed) for word in ("--chaos", injection)]

    # When the run goes on under all that
    code, result, err = place.run("-n", "6", "--seed", "3", "--loss", ".3", "--for", "5s", *recalls, *pauses)

    # Then every promise holds, no death is on record, and the run ended long before the pauses would have
    assert code == 0, (not_held(result), err)
    assert result["ended"] == "complete"
    fleet_rows = place.rows("fleet.jsonl")
    assert [row for row in fleet_rows if row["row"] == "death"] == []
    assert {"resume r01", "resume rq:r04", "resume relay:0", "restart rq:r02"} <= {
        row["verb"] + " " + row["target"] for row in fleet_rows if row["row"] == "injection"
    }
    assert result["seconds"]["total"] < 600
    # and each recall was followed by another life, if it was not one of the last two
    recalled = [event for event in events(place, "robot.left") if event["reason"] == "recalled"]
    lives = result["whole_run"]["lives"]
    assert len(recalled) >= 3
    assert len(recalled) - (sum(lives.values()) - len(lives)) in (0, 1, 2)
    # the RQ worker that ended was replaced by another one
    started = [event["process"] for event in events(place, "process.started")]
    assert len([name for name in started if name.startswith("rq:")]) == 7
    assert place.is_clean()


def test_a_server_that_dies_just_when_the_run_would_end_is_waited_for(place: Place) -> None:
    # Given a run in which nothing is left to happen but the death of the server
    code, result, err = place.run("-n", "3", "--seed", "3", "--preset", "calm", "--kill", "redis@3s", "--for", "3s")

    # Then it ends when the server is back, as if nothing had happened
    assert code == 0, (not_held(result), err)
    assert result["ended"] == "complete"
    assert place.is_clean()


def test_a_worker_that_is_crashed_is_restarted_and_its_siblings_live_on(place: Place) -> None:
    code, result, err = place.run("-n", "3", "--seed", "3", "--chaos", "crash r01/secret_merger @300ms", "--for", "2s")

    assert code == 0, (not_held(result), err)
    assert [event["worker"] for event in events(place, "worker.crashed")] == ["secret_merger"]
    assert result["whole_run"]["lives"] == {}


def test_a_contradiction_is_refused_reported_and_counted(place: Place) -> None:
    code, result, err = place.run("-n", "3", "--seed", "3", "--chaos", "contradict r01 @300ms", "--for", "2s")

    assert code == 0, (not_held(result), err)
    assert len(events(place, "invariant.violated")) == 1


def test_a_robot_that_lost_its_journal_leaves_its_run_unproven(place: Place) -> None:
    code, result, err = place.run(
        "-n", "3", "--seed", "3", "--copies", "2", "--chaos", "amnesia r01 @300ms", "--for", "2s", "--limit", "6s"
    )

    assert code == 3, (not_held(result), err)
    assert "journal" in result["promises"]["monotonic"]["why"]


def test_what_the_lab_injects_is_charged_to_no_process(place: Place) -> None:
    # Given an RQ worker and a relay that are each killed more often than the policy bears
    chaos = ("--chaos", "kill rq:r01 every 1s", "--chaos", "kill relay every 1s")

    # When the run goes on
    code, result, err = place.run("-n", "3", "--seed", "3", "--for", "7s", *chaos)

    # Then each had its successor at once, to the last
    assert code == 0, (not_held(result), err)
    injected = [row["victim"] for row in place.rows("fleet.jsonl") if row["row"] == "injection"]
    assert (injected.count("rq:r01"), injected.count("relay:0")) == (7, 7)
    assert events(place, "worker.gave.up") == []
    started = [event["process"].partition(":")[0] for event in events(place, "process.started")]
    assert (started.count("rq"), started.count("relay")) == (3 + 7, 1 + 7)
    deaths = [row for row in place.rows("fleet.jsonl") if row["row"] == "death"]
    killed = {row["incarnation"] for row in deaths if row["victim"] == "rq:r01"}
    assert (
        result["whole_run"]["lives"]["r01"] == 1 + len(killed) > 2
    )  # a kill between two lives of a robot has no effect
