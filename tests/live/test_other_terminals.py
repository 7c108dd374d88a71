"""A live run that is seen from other terminals, and into which they inject faults."""

import json
from typing import Any

import pytest

from broker.faults.process_faults import ProcessFault
from deploy.config.experiment import prepare
from robots.supervision import RestartPolicy
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.waiting import await_true

pytestmark = LIVE


def ask(place: Place, *arguments: str) -> dict[str, Any]:
    """What a command says from a process of its own; nothing when it fails."""
    out, _ = place.start(*arguments, "--json").communicate(timeout=END_S)
    return json.loads(out) if out else {}


def status_of(place: Place, robot: str, life: int) -> dict[str, Any]:
    """What `robots ps` shows of a robot in that life; nothing when it is not in it."""
    robots = ask(place, "ps").get("robots", ())
    return next((row for row in robots if (row["robot"], row["incarnation"]) == (robot, life)), {})


@pytest.mark.long
def test_a_live_run_that_is_seen_and_injected_into_from_other_terminals_is_held(place: Place) -> None:
    # Given a live run in which a robot is alive
    lab = place.start("run", "--json", "-n", "3", "--seed", "3", *UNTIL_STOPPED)
    place.await_event("run.started")  # what is asked for before is done later
    before = await_true(lambda: status_of(place, "r01", life=1))

    # When it is listed, and that robot's process killed, from other processes
    inject = place.start("kill", "r01")
    [listed] = ask(place, "runs")["runs"]
    out, err = inject.communicate(timeout=END_S)

    # Then the list shows that it is live, and the next life is seen, for which no robot is charged
    assert (listed["state"], listed["robots"], listed["seed"], listed["verdict"]) == ("live", 3, 3, None)
    assert out.decode() == f"done run {listed['run']}: kill r01; it died\n", err
    after = await_true(lambda: status_of(place, "r01", life=2))
    assert (before["state"], before["deaths"]) == ("running", 0)
    assert (after["deaths"], after["charged"], after["budget_left"]) == (1, 0, RestartPolicy().max_restarts)
    assert before["worker"]
    assert before["lease_left_s"] > 0

    # And the run ends with every promise kept, as the list tells from then on
    code, result, _ = place.stop(lab)
    [listed] = ask(place, "runs")["runs"]
    assert (code, result["verdict"], result["whole_run"]["lives"]) == (0, "HELD", {"r01": 2}), not_held(result)
    assert (listed["state"], listed["verdict"]) == (result["ended"], "HELD")
    assert place.is_clean()


def test_a_pause_asked_for_from_another_terminal_is_ended_from_there_and_repeated_with_its_real_length(
    place: Place,
) -> None:
    def done() -> list[str]:
        events = [row["event"] for row in place.events()]
        return [f"{event['verb']} {event['target']}" for event in events if event["name"] == "fault.injected"]

    # Given a live run that cannot end before its network lets something through, and whose relay is paused for minutes
    options = ("--loss", "1", "--for", "1s", "--limit", "20m")
    lab = place.start("run", "--json", "-n", "3", "--seed", "3", *options)
    place.await_event("run.started")
    place.start("pause", "relay:0", "--for", "10m").communicate(timeout=END_S)
    await_true(lambda: done() == ["pause relay:0"])

    # When it is resumed
    out, err = place.start("resume", "relay:0").communicate(timeout=END_S)
    await_true(lambda: done() == ["pause relay:0", "resume relay:0"])

    # Then it goes on, and the run ends with every promise kept, without waiting for the pause's own end
    place.start("faults", "heal").communicate(timeout=END_S)
    _, result, _ = place.result_of(lab)
    assert out.decode() == f"done run {result['run']}: resume relay:0\n", err
    assert (result["verdict"], result["ended"]) == ("HELD", "complete"), not_held(result)

    # And a repetition of the run pauses the relay for just as long
    plan = prepare({"again": result["run"], "runs_dir": place.folder / "runs"}).plan
    [injection] = [planned.line for planned in plan if isinstance(planned.line.fault, ProcessFault)]
    assert injection.fault.text() == "pause relay:0"
    assert injection.when.duration_us is not None
    assert injection.when.duration_us < END_S * 1_000_000
    assert place.is_clean()


@pytest.mark.long
def test_a_live_run_that_makes_no_progress_shows_why_itself_and_to_other_terminals(place: Place) -> None:
    def causes() -> list[str]:
        sections = ask(place, "why").get("sections", ())
        steps = (section["steps"] for section in sections if section["title"] == "why it does not go on")
        return [step["text"] for of_section in steps for step in of_section]

    # Given a live run in which one robot is cut off, and holds a part that the others lack
    cut = "loss 1 r00"
    lab = place.start("run", "-n", "3", "--seed", "3", "--preset", "calm", "--fault", cut, "--limit", "12s")

    # When another terminal asks why it does not go on, both sides are named with the fault
    found = await_true(lambda: [text for text in causes() if f"({cut})" in text])
    assert any(text.startswith("r00 lacks") for text in found)

    # Then the run's own lines named the same, each once, and so does its verdict
    out, err = lab.communicate(timeout=END_S)
    stalled = [line.partition(": ")[2] for line in err.decode().splitlines() if "no progress for" in line]
    assert stalled == found
    verdict = " ".join(out.decode().split())
    assert [f"not done {cause}" in verdict for cause in found] == [True] * verdict.count("not done")
