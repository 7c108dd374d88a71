"""A live run that is held back: its robots are born and send nothing, until a person lets it begin."""

from __future__ import annotations

import json
import os
import pty
import signal

import pytest

from broker.streams.run.runs import read_run_status
from tests.live.cluster import Cluster
from tests.support.live_place import END_S, LIVE, Place, not_held

pytestmark = LIVE

SEND = "message.sent"


def names(place: Place) -> list[str]:
    return [row["event"]["name"] for row in place.events()]


def test_robots_are_born_and_send_nothing_before_robots_go(place: Place) -> None:
    # Given a run that is held back, with a limit that is shorter than it waits
    process = place.start("run", "--hold", "--json", "-n", "3", "--limit", "20s")
    place.await_event("run.held.back", born=3)
    folder = next((place.folder / "runs").glob("*/live.json")).parent

    # Then all robots are born, nothing was sent, and other terminals are shown that it waits
    assert place.view().born == 3
    states = place.start("ps", "--json").communicate(timeout=END_S)[0]
    assert json.loads(states)["state"] == "held back: waits for go"
    assert SEND not in names(place)

    # When a person lets it begin
    code, row, err = place.result_of(place.start("go", "--json"))
    assert (code, row["begun"], row["born"]) == (0, True, 3), err

    # Then it goes on to its end as any other, and is HELD
    code, result, err = place.result_of(process)
    assert code == 0, (not_held(result), err)
    assert (result["verdict"], result["ended"]) == ("HELD", "complete")
    # and the record shows that nothing was sent before the order, and that its times count from go
    orders = json.loads((folder / "streams.json").read_text())["orders"]
    assert [order["order"] for order in orders] == ["dealt", "begin", "go", "stop"]
    began_us = int(orders[1]["id"].split("-")[0]) * 1000
    assert min(row["wall_us"] for row in place.events() if row["event"]["name"] == SEND) >= began_us
    assert result["seconds"]["all_complete"] < 20
    assert json.loads((folder / "settings.json").read_text())["hold"] is True
    assert "--hold" not in result["again"]
    # and the hint was printed once, without a key that cannot be pressed
    assert err.count("all 3 robots are born and wait: robots go ") == 1
    assert place.is_clean()


@pytest.mark.long
def test_a_robot_that_dies_while_the_run_is_held_back_is_born_again(place: Place) -> None:
    # Given a run that is held back
    process = place.start("run", "--hold", "--json", "-n", "3")
    place.await_event("run.held.back", born=3)

    # When a robot is killed, and lives again
    job = json.loads(place.start("ps", "--json").communicate()[0])["robots"][0]
    os.kill(job["pid"], signal.SIGKILL)
    place.await_event("robot.born", source=job["robot"], incarnation=2)
    assert "run.started" not in names(place)

    # Then the run begins with it, and is HELD
    assert place.start("go").wait(timeout=END_S) == 0
    code, result, err = place.result_of(process)
    assert code == 0, (not_held(result), err)
    assert result["promises"]["supervised"]["tested"] > 0
    assert place.is_clean()


def test_ctrl_c_while_a_run_is_held_back_ends_it_with_its_record(place: Place) -> None:
    process = place.start("run", "--hold", "--json", "-n", "3")
    place.await_event("run.held.back", born=3)

    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=END_S)

    # Then nothing is held against it, nothing is called tested that was not, and nothing is left
    result = json.loads(out)
    assert process.returncode == 130, err.decode()
    assert result["ended"] == "interrupted"
    assert [name for name, promise in result["promises"].items() if promise["state"] == "BROKEN"] == []
    assert result["promises"]["convergent"]["state"] == "UNPROVEN"
    assert SEND not in names(place)
    assert place.is_clean()


def test_enter_at_its_terminal_lets_a_run_begin(place: Place) -> None:
    # Given a run at a terminal
    person, program = pty.openpty()
    try:
        process = place.start("run", "--hold", "--json", "--ui", "plain", "-n", "3", terminal=program)
        place.await_event("run.held.back", born=3)
        assert "run.started" not in names(place)

        # When a person presses Enter
        os.write(person, b"\n")
        code, result, err = place.result_of(process)
    finally:
        os.close(person)
        os.close(program)

    # Then it begins, and is HELD; and the person had been told the key
    assert code == 0, (not_held(result), err)
    assert "all 3 robots are born and wait: press Enter, or: robots go " in err


@pytest.mark.long
def test_a_run_without_a_parent_is_held_back_by_whichever_supervisor_leads_it(cluster: Cluster) -> None:
    # Given a run that was dealt to be held back, and all that it takes
    cluster.deal("--hold", "-n", "3", "--preset", "calm")
    parts = [cluster.start("supervise"), cluster.start("relay"), cluster.start("worker", "-n", "3")]
    cluster.await_states(r00="running", r01="running", r02="running")
    run_status = read_run_status(cluster.client, cluster.run)
    assert run_status is not None
    assert run_status.go_ms is None

    # When a person lets it begin, from any host
    code, out, err = cluster.do("go", cluster.run)
    assert (code, cluster.run in out) == (0, True), err
    cluster.await_go()

    # Then it goes on to its end, and is HELD
    code, result = cluster.verify(cluster.run)
    assert (code, result["verdict"]) == (0, "HELD"), not_held(result)
    for part in parts:
        part.terminate()
        part.communicate(timeout=END_S)
