"""A live run whose relays, robots, RQ workers or server die: it costs time, and nothing else."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis

from broker.streams.embedded import find_binary
from deploy.lifecycle.closing import is_stopped
from tests.support.live_place import LIVE, UNTIL_STOPPED, Place, died, not_held, pids
from tests.support.waiting import await_true

pytestmark = LIVE


def test_a_relay_killed_again_and_again_loses_nothing(place: Place) -> None:
    # Given a run with much traffic held at the relay
    process = place.start("run", "--json", *UNTIL_STOPPED, "--delay", "20ms..80ms")
    place.await_event("run.started")

    # When its relay is killed three times
    for number in range(1, 4):
        await_true(lambda number=number: len(pids(place, "relay:")) == number)
        before = place.view().offered
        await_true(lambda before=before: place.view().offered > before, what="the relay's work")
        os.kill(pids(place, "relay:")[-1], signal.SIGKILL)

    # Then every envelope still has its one fate, and the record adds up
    await_true(lambda: len(pids(place, "relay:")) == 4)
    code, result, err = place.stop(process)
    assert code == 0, (not_held(result), err)
    assert result["promises"]["accounted"]["state"] == "HELD"
    assert place.is_clean()


def test_a_robot_killed_in_the_middle_is_born_again_with_all_it_knew(place: Place) -> None:
    # Given a run that goes on, and the horses of two RQ workers
    process = place.start("run", "--json", *UNTIL_STOPPED)
    place.await_event("run.started")
    horses = [child for worker in pids(place, "rq:")[:2] for child in _children(worker)]
    assert len(horses) == 2

    # When they are killed
    for horse in horses:
        os.kill(horse, signal.SIGKILL)

    # Then their RQ workers run them again, as second lives that forgot nothing
    await_true(lambda: [robot.incarnation for robot in place.view().robots.values()].count(2) == 2, what="second lives")
    code, result, err = place.stop(process)
    assert code == 0, (not_held(result), err)
    assert sorted(result["whole_run"]["lives"].values()) == [2, 2]
    assert result["whole_run"]["restarts"] == 2
    assert place.is_clean()


def test_a_relay_killed_while_it_drains_has_a_successor_that_finishes(place: Place) -> None:
    # Given a run whose relay holds many copies when the robots stop
    process = place.start("run", "--json", "--for", "5s", "--delay", "600ms..1500ms", "--seed", "5")
    place.await_event("run.started")
    [live] = place.folder.glob("runs/latest/live.json")
    [first] = pids(place, "relay:")
    with redis.Redis.from_url(json.loads(live.read_text())["data"]) as client:
        run = place.events()[0]["run"]
        await_true(lambda: is_stopped(client, run))  # of which the record tells too late: it may have drained

    # When that relay is killed
    os.kill(first, signal.SIGKILL)

    # Then the record adds up nevertheless, tells of that death, and of no orderly end
    code, result, err = place.result_of(process)
    assert code == 0, (not_held(result), err)
    assert died(place) == [("relay:0", first, -signal.SIGKILL)]
    assert place.is_clean()


@pytest.mark.long
def test_a_server_that_pauses_costs_time_and_nothing_else(place: Place) -> None:
    # Given a run in the middle of it, whose plan changes all the while
    faults = ("--loss", ".3", "--fault", "corrupt .2 @1s+200ms every 500ms")
    process = place.start("run", "--json", *UNTIL_STOPPED, "--secret", "word " * 400, *faults)
    place.await_event("run.started")

    # When its server does not answer for longer than any process retries
    [server] = pids(place, "redis")
    os.kill(server, signal.SIGSTOP)
    time.sleep(6)
    os.kill(server, signal.SIGCONT)

    # Then all promises hold, and no process died of it
    place.await_traffic()
    code, result, err = place.stop(process)
    assert code == 0, (not_held(result), err)
    assert died(place) == []
    assert not any("Traceback" in log.read_text() for log in place.folder.glob("runs/latest/logs/rq-*"))
    assert place.is_clean()


@pytest.mark.long
def test_the_death_of_an_rq_worker_names_its_robot_even_while_the_server_is_away(place: Place) -> None:
    # Given a run that goes on, and a server that answers no client
    process = place.start("run", "--json", *UNTIL_STOPPED, "--copies", "2", "-n", "4")
    place.await_event("run.started")
    [server], workers = pids(place, "redis"), pids(place, "rq:")
    os.kill(server, signal.SIGSTOP)

    # When an RQ worker is killed
    os.kill(workers[0], signal.SIGKILL)
    await_true(lambda: died(place), what="the news")
    os.kill(server, signal.SIGCONT)

    # Then it was told which robot died of it
    [(victim, pid, status)] = died(place)
    assert victim in {f"rq:r{number:02d}" for number in range(4)}
    assert (pid, status) == (workers[0], -signal.SIGKILL)
    # and it lives on as soon as the server is back
    robot = victim.removeprefix("rq:")
    place.await_event("robot.born", source=robot, incarnation=2)
    code, result, err = place.stop(process)
    assert code == 0, (not_held(result), err)
    assert result["whole_run"]["lives"] == {robot: 2}
    assert place.is_clean()


def test_a_private_server_that_is_killed_lives_again_with_all_that_it_held(place: Place) -> None:
    # Given a run that goes on
    process = place.start("run", "--json", *UNTIL_STOPPED)
    place.await_event("run.started")

    # When its server is killed
    [server] = pids(place, "redis")
    os.kill(server, signal.SIGKILL)
    await_true(lambda: len(pids(place, "redis")) == 2, what="another server")
    place.await_traffic()
    code, result, err = place.stop(process)

    # Then another one takes its place, and nothing was lost
    assert code == 0, (not_held(result), err)
    assert ("redis", server, -signal.SIGKILL) in died(place)
    assert len(pids(place, "redis")) == 2
    assert place.is_clean()


def serve(folder: Path) -> subprocess.Popen[bytes]:
    """A server that writes through, and finds what an earlier one in that folder left."""
    options = ["--port", "0", "--unixsocket", f"{folder}/s", "--appendonly", "yes", "--appendfsync", "always"]
    command = [str(find_binary()), *options, "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with redis.Redis(unix_socket_path=f"{folder}/s") as client:
        await_true(lambda: answers(client))
    return server


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.RedisError:
        return False


def test_a_server_that_is_killed_and_comes_back_costs_time_and_nothing_else(place: Place) -> None:
    # Given a run on a server that is not its own, in the middle of it
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    server = serve(folder)
    try:
        more = ("--secret", "word " * 400, "--loss", ".3", *UNTIL_STOPPED)
        process = place.start("run", "--json", "--redis-url", f"unix://{folder}/s", *more)
        place.await_event("run.started")

        # When that server is killed, and started again a second later
        server.kill()
        server.wait()
        time.sleep(1)
        server = serve(folder)

        # Then all promises hold
        place.await_traffic()
        code, result, err = place.stop(process)
        assert code == 0, (not_held(result), err)
        with redis.Redis(unix_socket_path=f"{folder}/s") as client:
            assert client.keys("*") == []
        assert place.is_clean()
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
