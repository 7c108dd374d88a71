"""The knobs of a live run: turned by keys on its screens, and by the controls that screens have."""

from __future__ import annotations

from deploy.attach.discovery import find_live
from deploy.observing.controls import LiveControls
from tests.support.live_place import LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.pseudo_terminal import Open
from tests.support.waiting import await_true

pytestmark = LIVE

LASTING = ("run", "--json", "-n", "4", "--seed", "3", "--preset", "calm", *UNTIL_STOPPED)


def requests_of(place: Place) -> list[str]:
    """What the run was requested, as its relay reported it."""
    events = [row["event"] for row in place.events()]
    return [event["request"] for event in events if event["name"] == "plan.changed" and event["request"]]


def test_keys_on_its_screens_change_a_live_run(place: Place, open_terminal: Open) -> None:
    # Given a run that is watched on its page of faults
    lab = place.start(*LASTING)
    place.await_event("run.started")
    terminal = open_terminal("watch")
    terminal.await_screens()
    terminal.type("3")
    at = terminal.await_text("IN FORCE")

    # When loss is turned up, the change is shown, and enter makes it
    terminal.type("+")
    at = terminal.await_text("pending: loss off -> 1%", at)
    assert requests_of(place) == []
    terminal.type("\r")
    await_true(lambda: requests_of(place) == ["set loss 0.01"], what="the request")
    at = terminal.await_text(f'same as: robots faults set "loss 0.01" {place.run_id}', at)

    # When a robot is to be killed, that is asked before
    terminal.type("2K")
    at = terminal.await_text("Kill r00?", at)
    terminal.type("y")
    place.await_event("fault.injected", verb="kill", victim="r00")
    terminal.await_text("kill r00; it died", at)

    # When a fault is typed that is not allowed, the reason is shown, and the run does not get it
    terminal.type("3e")
    at = terminal.await_text("any fault", at)
    terminal.type("loss 7\r")
    at = terminal.await_text("a probability from 0 to 1", at)
    terminal.type("\x1b")
    terminal.await_text("s  kill r00", at)  # the dialog is gone, and what it hid is there

    # Then all ends with H, and the run keeps every promise
    terminal.type("H")
    asked = ["set loss 0.01", "heal"]
    await_true(lambda: requests_of(place) == asked, what="the last request")
    terminal.type("q")
    assert terminal.await_end() == 0
    code, result, _ = place.stop(lab)
    assert (code, result["verdict"]) == (0, "HELD"), not_held(result)
    assert result["whole_run"]["lives"] == {"r00": 2}


def test_a_watcher_that_may_only_read_has_no_keys_that_change_the_run(place: Place, open_terminal: Open) -> None:
    lab = place.start(*LASTING)
    place.await_event("run.started")
    terminal = open_terminal("watch", "--read-only")
    terminal.await_screens()

    terminal.type("3")
    at = terminal.await_text("read-only: nothing can be changed from here")
    terminal.type("+\rHKy2")
    terminal.await_text("r03", at)

    terminal.type("q")
    assert terminal.await_end() == 0
    code, result, _ = place.stop(lab)
    assert (code, result["whole_run"]["lives"], requests_of(place)) == (0, {}, [])


def test_the_controls_of_a_live_run_do_what_they_are_asked_and_answer_in_lines(place: Place) -> None:
    # Given a live run, and its controls
    lab = place.start(*LASTING)
    place.await_event("run.started")
    where = find_live(place.folder / "runs", None, None)
    controls = LiveControls(where)

    # When its faults are changed, and things are done to its robots
    done = [
        controls.request("loss .3"),
        controls.request("kill r03"),
        controls.clear("loss"),
        controls.request("crash r01/secret_merger"),
        controls.request("pause r02 @0s+1m"),
        controls.request("resume r02"),
        controls.heal(),
    ]
    refused = [controls.request("kill relay:9"), controls.clear("loss"), controls.go()]

    # Then each was done, or is answered with the reason
    assert [reply.is_done for reply in done] == [True] * 7, done
    assert done[0].lines[0] == "plan: calm → loss 0.3"
    assert done[1].lines == [f"done run {where.run}: kill r03; it died"]
    assert done[2].lines[0] == "plan: loss 0.3 → calm"
    assert [reply.is_done for reply in refused] == [False] * 3, refused
    assert "there is nothing to clear" in refused[1].lines[0]

    # When it is stopped by them, it ends in order
    assert controls.stop() == ([f"run {where.run}: stopped"], True)
    code, result, _ = place.result_of(lab)
    assert (code, result["verdict"], result["ended"]) == (0, "HELD", "stopped"), not_held(result)
    assert result["whole_run"]["lives"] == {"r03": 2}

    # And of a run whose server is gone all is answered in one line
    gone = [controls.request("kill r03"), controls.heal(), controls.stop(), controls.go()]
    assert [(reply.is_done, len(reply.lines)) for reply in gone] == [(False, 1)] * 4, gone
    assert place.is_clean()
