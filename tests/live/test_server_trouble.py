"""A server in trouble costs a live run time, and nothing else: no process dies of it, and nothing is lost."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.run.events import BlockingEventLog, StreamEventSource
from telemetry.stream.publisher import decode_events
from telemetry.stream.spill import frames_in
from tests.support.live_place import LIVE, UNTIL_STOPPED, Place, pids
from tests.support.waiting import await_true, is_alive

pytestmark = LIVE

# Big enough for envelopes to be under way when the trouble begins.
RUN = ("run", "--json", "-n", "5", "--copies", "2", "--seed", "7", "--loss", ".3", "--relays", "2", *UNTIL_STOPPED)
SECRET = ("--secret", "word " * 200)

LITTLE_ROOM = """
import sys
from deploy.entry import main
from telemetry.stream import publisher
publisher.ROOM = 20
sys.exit(main())
"""


class Running:
    """A run that has begun, a client of its server, and how it ended."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process = place.start(*RUN, *SECRET)
        place.await_event("run.started")
        [live] = place.folder.glob("runs/latest/live.json")
        self.client = redis.Redis.from_url(json.loads(live.read_text())["data"])
        [self.server] = pids(place, "redis")

    def end(self) -> dict[str, Any]:
        """The run is ended in order: then all promises hold, none of its events is missing, and nothing is left."""
        code, result, err = self._place.stop(self._process)
        doubts = {name: found["why"] for name, found in result["promises"].items() if found["state"] != "HELD"}
        assert code == 0, (doubts, err)
        assert (result["verdict"], result["ended"]) == ("HELD", "stopped")
        assert gaps(self._place) == []
        assert self._place.is_clean()
        return result


@contextmanager
def running(place: Place) -> Iterator[Running]:
    """A run in the middle of it. After the block it goes on and ends, and no process has died."""
    run = Running(place)
    with run.client:
        yield run
    place.await_traffic()
    result = run.end()
    assert result["whole_run"]["lives"] == {}, "a robot that lives is not queued again"
    assert result["whole_run"]["restarts"] == 0
    assert [row["event"] for row in place.events() if row["event"]["name"] in ("process.died", "worker.gave.up")] == []


def gaps(place: Place) -> list[tuple[str, int, int]]:
    """Where the numbers of a source's events are not 1, 2, 3 …: source, incarnation, number."""
    last: dict[tuple[str, int], int] = {}
    found = []
    for row in place.events():
        life = (row["source"], row["incarnation"])
        if row["number"] != last.get(life, 0) + 1:
            found.append((*life, row["number"]))
        last[life] = row["number"]
    return found


@pytest.mark.long
def test_an_outage_of_five_seconds(place: Place) -> None:
    with running(place) as run:
        os.kill(run.server, signal.SIGSTOP)
        time.sleep(5)
        os.kill(run.server, signal.SIGCONT)


@pytest.mark.long
def test_a_server_that_pauses_all_its_clients(place: Place) -> None:
    with running(place) as run:
        run.client.execute_command("CLIENT", "PAUSE", 3000, "ALL")


@pytest.mark.long
def test_a_server_that_hangs_up_on_everybody_again_and_again(place: Place) -> None:
    with running(place) as run:
        for _ in range(10):
            run.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(0.2)


def is_busy(client: redis.Redis) -> Callable[[], None]:
    """A script runs for three seconds, and everybody else is refused."""
    client.config_set("busy-reply-threshold", 10)
    script = "local t = redis.call('TIME') while redis.call('TIME')[1] - t[1] < 3 do end"
    thread = threading.Thread(target=client.eval, args=(script, 0))
    thread.start()
    return thread.join


def is_full(client: redis.Redis) -> Callable[[], None]:
    client.config_set("maxmemory", 1)
    return lambda: client.config_set("maxmemory", 0)


def is_read_only(client: redis.Redis) -> Callable[[], None]:
    client.replicaof("127.0.0.1", "1")
    return lambda: client.replicaof("NO", "ONE")


def has_nothing_to_show(client: redis.Redis) -> Callable[[], None]:
    """As one that still loads what it had stored."""
    client.config_set("replica-serve-stale-data", "no")
    return is_read_only(client)


HARD = [pytest.param(trouble, marks=pytest.mark.long) for trouble in (is_busy, is_read_only, has_nothing_to_show)]


@pytest.mark.parametrize("trouble", [is_full, *HARD])
def test_a_server_that_refuses(place: Place, trouble: Callable[[redis.Redis], Callable[[], None]]) -> None:
    with running(place) as run:
        end = trouble(run.client)
        time.sleep(4)  # longer than a lease
        end()


def spilled_by_robots(place: Place) -> list[Path]:
    return [path for path in place.temporary.glob("robots.*/r0*") if path.stat().st_size]


def test_what_a_robot_spilled_before_it_was_killed_in_an_outage_is_in_the_record(place: Place) -> None:
    # Given a run whose processes have little room for events, and a server that does not answer
    place.program = [sys.executable, "-c", LITTLE_ROOM]
    run = Running(place)
    os.kill(run.server, signal.SIGSTOP)
    # When a robot has spilled some, and is killed before the server is back
    [path, *_] = await_true(lambda: spilled_by_robots(place), what="a spill")
    robot = path.name.split(".")[0]
    [horse] = [pid for pid in place.processes() if Path(f"/proc/{pid}/comm").read_text() == f"robot:{robot}\n"]
    os.kill(horse, signal.SIGKILL)
    await_true(lambda: not is_alive(horse), what="its end")
    with path.open("rb") as file:
        left = [stamped.number for frame in frames_in(file.fileno()) for stamped in decode_events(frame)]
    os.kill(run.server, signal.SIGCONT)
    run.client.close()
    # Then it lives again, and what it had left is heard, once and in order
    place.await_event("robot.born", source=robot, incarnation=2)
    assert run.end()["whole_run"]["lives"] == {robot: 2}
    reported = [row["number"] for row in place.events() if (row["source"], row["incarnation"]) == (robot, 1)]
    assert left
    assert reported == list(range(1, left[-1] + 1))


def test_a_parent_that_is_killed_leaves_nothing_that_was_spilled(place: Place) -> None:
    # Given a run whose processes have spilled events
    place.program = [sys.executable, "-c", LITTLE_ROOM]
    run = Running(place)
    run.client.close()
    os.kill(run.server, signal.SIGSTOP)
    await_true(lambda: spilled_by_robots(place), what="a spill")
    # When the parent is killed
    place.started[0].kill()
    # Then nothing is left
    await_true(place.is_clean, what="a clean place")


def test_the_last_events_are_read_although_the_server_refuses_just_then(server: EmbeddedServer) -> None:
    # Given events that no reader has read, and a server that has nothing to show for a while
    with connect(server.url) as client, connect(server.url) as other:
        client.xadd("events", {"nonce": ""})  # as the deal makes it
        assert BlockingEventLog(client, "events").append(b"last")
        source = StreamEventSource(client, "events")
        end = has_nothing_to_show(other)
        # When / Then a reader that does not retry reads nothing, and one that does reads all
        assert source.read() == []
        threading.Timer(0.3, end).start()
        assert source.read(10) == [b"last"]
