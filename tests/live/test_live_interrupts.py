"""A live run that a person or a signal ends: in order, with a record, and nothing is left."""

import contextlib
import json
import os
import signal
import subprocess
import time

import pytest
import redis

from broker.streams.embedded import EmbeddedServer
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place, died, not_held
from tests.support.waiting import await_true

pytestmark = LIVE


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_guest_that_is_interrupted_during_births_leaves_no_key_and_disturbs_no_other_client(
    place: Place, times: int
) -> None:
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        # Given a run on another's server, whose robots are being born
        process = place.start("run", "--redis-url", server.url, "-n", "8", "--preset", "calm", *UNTIL_STOPPED)
        await_true(lambda: client.keys("rq:job:*"))

        # When it is interrupted
        for _ in range(times):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        process.communicate(timeout=END_S)

        # Then nothing at all is left there, and the next run finds a clean table
        assert process.returncode == 130
        assert client.keys("*") == []
        code, result, progress = place.run("--redis-url", server.url, "-n", "3", "--preset", "calm")
        assert code == 0, (not_held(result), progress)
        assert client.keys("*") == []
    assert place.is_clean()


def test_ctrl_c_ends_in_order_with_a_record_and_leaves_nothing(place: Place) -> None:
    # Given a run that goes on
    process = place.start("run", "--json", *UNTIL_STOPPED)
    place.await_done()

    # When a person presses Ctrl-C: the terminal signals the whole group
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=END_S)

    # Then it ends with 130 and a verdict, and nothing is left
    result = json.loads(out)
    assert process.returncode == 130
    assert (result["ended"], result["verdict"]) == ("interrupted", "HELD")
    assert place.is_clean()


def test_ctrl_c_while_the_server_is_away_for_a_moment_ends_in_order(place: Place) -> None:
    # Given a run whose server has just died
    process = place.start("run", "--json", *UNTIL_STOPPED, "--kill", "redis@2s")
    await_true(lambda: any(victim == "redis" for victim, _, _ in died(place)))

    # When a person presses Ctrl-C
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=END_S)

    # Then it ends with 130 and a verdict all the same
    assert process.returncode == 130, err.decode()
    assert json.loads(out)["ended"] == "interrupted"
    assert place.is_clean()


def test_ctrl_c_while_robots_are_being_born_leaves_nothing(place: Place) -> None:
    process = place.start("run", "-n", "8", *UNTIL_STOPPED)
    await_true(lambda: len(place.processes()) > 3)

    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=END_S)

    assert process.returncode == 130
    await_true(place.is_clean)


def test_sigterm_of_the_parent_stops_the_run_in_order(place: Place) -> None:
    process = place.start("run", "--json", *UNTIL_STOPPED)
    place.await_done()

    process.terminate()
    out, _ = process.communicate(timeout=END_S)

    assert json.loads(out)["ended"] == "stopped"
    assert process.returncode == 0
    assert place.is_clean()


def test_kill_9_of_the_parent_leaves_no_process_no_socket_no_folder(place: Place) -> None:
    process = place.start("run", *UNTIL_STOPPED)
    place.await_event("run.started")
    live = place.folder / "runs/latest/live.json"
    assert json.loads(live.read_text())["pid"] == process.pid
    assert live.stat().st_mode & 0o777 == 0o600
    assert len(place.processes()) > 12, "6 RQ workers, their horses, relay, server, janitor, parent"

    process.kill()
    process.communicate(timeout=END_S)

    await_true(place.is_clean)
    assert not list(place.folder.glob("runs/*/live.json"))


@pytest.mark.long
def test_impatience_changes_nothing(place: Place) -> None:
    # Given a run that a person ended with Ctrl-C
    process = place.start("run", "--json", *UNTIL_STOPPED)
    place.await_done()

    # When they press it again and again, all through the end
    while process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    out, _ = process.communicate()

    # Then the record is made all the same, and nothing is left
    assert (process.returncode, json.loads(out)["verdict"]) == (130, "HELD")
    assert place.is_clean()


def test_a_simulation_that_is_interrupted_ends_in_order(place: Place) -> None:
    process = place.start("simulate", "--json", "-n", "40", "--for", "10h", "--limit", "11h")
    assert process.stderr is not None
    assert any(b"complete" in line for line in process.stderr), "progress of long work"

    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=END_S)

    assert (process.returncode, json.loads(out)["ended"], err.count(b"Traceback")) == (130, "interrupted", 0)


def test_readers_who_leave_neither_end_a_run_nor_change_its_exit_code(place: Place) -> None:
    process = place.start("run", "-n", "3")
    assert process.stderr is not None
    assert process.stdout is not None
    process.stderr.close()
    process.stdout.close()

    assert process.wait(END_S) == 0
    assert json.loads((place.folder / "runs/latest/verdict.json").read_text())["verdict"] == "HELD"
    assert place.is_clean()
