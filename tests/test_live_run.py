"""The live lab, end to end: a real server, real RQ workers, a real relay, and what is left when it is over: nothing."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import redis
from bench import plan_change
from live_place import Place, pids
from waiting import await_true

from broker.faults.message_faults import Loss
from broker.ports.run import Dealing
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer, find_binary
from broker.streams.keys import Keys
from broker.streams.run.control import StreamDesk
from deploy.config.settings import DEFAULT_SECRET
from deploy.fleet.relays import Relays
from deploy.lifecycle.closing import is_stopped
from deploy.processes.children import Death
from telemetry.events import Event, RobotStarted, Stamped, WorkerGaveUp
from telemetry.stream.feed import EventFeed
from telemetry.stream.publisher import encode_events

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux"),
]

PROMISES = [
    "once",
    "right",
    "monotonic",
    "unique",
    "idempotent",
    "patient",
    "convergent",
    "supervised",
    "fenced",
    "honest faults",
    "accounted",
]


class Frames:
    """A stream of events, as far as it was read."""

    def __init__(self, *frames: bytes) -> None:
        self._frames = list(frames)

    def read(self, patience_s: float = 0.0) -> list[bytes]:
        frames, self._frames = self._frames, []
        return frames


def stamped(source: str, incarnation: int, number: int) -> Stamped:
    return Stamped("run", source, incarnation, number, 0, 0, RobotStarted())


def test_an_event_that_stands_in_the_stream_twice_is_heard_once() -> None:
    # Given batches of two sources, one stored again (with what came since) because its reply was lost; and garbage
    first, second, third = (stamped("r00", 1, number) for number in (1, 2, 3))
    other, reborn = stamped("r01", 1, 1), stamped("r00", 2, 1)
    batches = [[first, second], [other], [first, second, third], [reborn]]

    # When they are read
    heard = list(EventFeed(Frames(*map(encode_events, batches), b"garbage")).read())

    # Then each event is there once
    assert heard == [first, second, other, third, reborn]


class Children:
    """A fleet whose children do as they are told here: `fates` holds the status of each end to come."""

    def __init__(self, *fates: int | None, shards: int = 1) -> None:
        self.fates = list(fates)
        self.spawned: list[tuple[str, int, int, str, bool]] = []
        self.events: list[Event] = []
        self.relays = Relays(shards, self, lambda *life: self.spawned.append(life), self.events.append)

    def end(self, names: list[str], grace_s: float, asking: bool) -> list[Death]:
        """None for a status: it was dead already."""
        statuses = {name: self.fates.pop(0) for name in names}
        return [Death(name, 1, status) for name, status in statuses.items() if status is not None]


@pytest.mark.parametrize(
    ("fates", "lives"),
    [
        ([0], 1),
        ([None, 0], 2),
        ([-9, 1, 0], 3),
        ([-9, -9, -9, -9], 4),
    ],
    ids=["in order", "dead already", "killed, then failing", "killed for ever"],
)
def test_a_relay_that_did_not_end_in_order_gets_lives_to_drain_in(fates: list[int | None], lives: int) -> None:
    # Given a relay
    children = Children(*fates)
    children.relays.start()

    # When it is to drain and end
    deaths = children.relays.drain()

    # Then all its deaths are told, and each further life had this only task and a number of its own
    assert [death.status for death in deaths] == [status for status in fates if status is not None]
    assert [(name, shard, number, is_last) for name, shard, number, _, is_last in children.spawned] == [
        ("relay:0", 0, number, number > 1) for number in range(1, lives + 1)
    ]
    assert len({holder for _, _, _, holder, _ in children.spawned}) == 1
    assert children.fates == []


def test_a_relay_that_dies_too_often_is_given_up_and_that_is_told() -> None:
    # Given a relay, and a policy that bears five deaths
    children = Children()
    relays = children.relays
    relays.start()

    # When it dies six times, and others do
    for _ in range(6):
        relays.replace(Death("relay:0", 1, -9))
        relays.replace(Death("rq:w00", 1, -9))
        relays.attend(relays.due_s or 0.0)

    # Then it had six lives, and its end is an event
    assert [incarnation for _, _, incarnation, _, _ in children.spawned] == [1, 2, 3, 4, 5, 6]
    assert children.events == [WorkerGaveUp("relay:0", 6)]
    assert relays.due_s is None


def test_a_dead_relay_waits_for_its_time_and_no_other_waits_for_it() -> None:
    # Given relays of two shards
    children = Children(shards=2)
    relays = children.relays
    relays.start()

    # When both die, one after the other, and the first is looked at before its time
    relays.replace(Death("relay:1", 1, -9))
    relays.replace(Death("relay:0", 2, -9))
    due_s = relays.due_s
    assert due_s is not None
    relays.attend(due_s - 0.001)

    # Then none is started, and each is when its time has come
    assert len(children.spawned) == 2
    assert relays.due_s == due_s
    relays.attend(due_s + 1)
    assert sorted((shard, number) for _, shard, number, _, _ in children.spawned) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    # And the two shards' leases have different holders
    assert len({(shard, holder) for _, shard, _, holder, _ in children.spawned}) == 2


def test_dealing_again_after_a_lost_reply_adds_nothing() -> None:
    with EmbeddedServer() as server, connect(server.url) as client:
        # Given a deal that was cut short before its last step
        dealing = Dealing("t", 2, plan_change(Loss(0.5)), {"r00": [b"header"], "r01": [b"header"]}, b"terms")
        StreamDesk(client, "t").deal(dealing)
        client.delete(Keys("t").orders)

        # When it is made again
        StreamDesk(client, "t").deal(dealing)

        # Then each stream is as long as it was, and the plan stands in each outbox once
        assert [client.xlen(Keys("t").outbox(shard)) for shard in (0, 1)] == [1, 1]
        assert [client.xlen(Keys("t").journal(robot)) for robot in ("r00", "r01")] == [1, 1]
        assert client.xlen(Keys("t").orders) == 1


def test_the_default_run_is_held_and_leaves_only_its_record(place: Place) -> None:
    code, result, progress = place.run("--output", "out.txt")

    assert code == 0, (result, progress)
    assert (result["verdict"], result["ended"], result["robots"], result["parts"]) == ("HELD", "complete", 6, 11)
    assert {name: finding["state"] for name, finding in result["promises"].items()} == dict.fromkeys(PROMISES, "HELD")
    assert result["winner"] in {f"r{n:02d}" for n in range(6)}
    assert result["messages"]["lost"] > 0
    assert (place.folder / "out.txt").read_text() == DEFAULT_SECRET
    assert (place.folder / result["record"] / "secret.txt").read_text() == DEFAULT_SECRET
    assert f"seed {result['seed']}" in progress
    assert place.is_clean(), (place.processes(), list(place.temporary.iterdir()))
    assert sorted(path.name for path in place.folder.iterdir()) == ["out.txt", "runs"]


def test_a_secret_of_any_shape_comes_back_byte_for_byte(place: Place) -> None:
    secret = "\n  Zwei Sätze.  Mit   Lücken!\t\n\nUnd ein 日本語 Absatz.\r\n " + "wort " * 2000 + "\n"
    (place.folder / "secret").write_bytes(secret.encode())

    code, result, progress = place.run("--secret-file", "secret", "-n", "4", "--copies", "2", "--loss", ".1")

    assert code == 0, (result, progress)
    assert (place.folder / result["record"] / "secret.txt").read_bytes() == secret.encode()
    assert place.is_clean()


def test_a_server_that_is_not_ours_is_left_as_it_was(place: Place) -> None:
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        code, result, progress = place.run("--redis-url", server.url, "-n", "3", "--preset", "calm")

        assert code == 0, (result, progress)
        assert client.keys("*") == []
    assert place.is_clean()


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_guest_that_is_interrupted_during_births_leaves_no_key_and_disturbs_nobody(place: Place, times: int) -> None:
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        # Given a run on another's server, whose robots are being born
        process = place.start("run", "--redis-url", server.url, "-n", "8", "--preset", "calm")
        await_true(lambda: client.keys("rq:job:*"))

        # When it is interrupted
        for _ in range(times):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        process.communicate(timeout=30)

        # Then nothing at all is left there, and the next run finds a clean table
        assert process.returncode == 130
        assert client.keys("*") == []
        code, result, progress = place.run("--redis-url", server.url, "-n", "3", "--preset", "calm")
        assert code == 0, (result, progress)
        assert client.keys("*") == []
    assert place.is_clean()


def test_ctrl_c_ends_in_order_with_a_record_and_leaves_nothing(place: Place) -> None:
    # Given a run that goes on
    process = place.start("run", "--json", "--for", "60s")
    await_true(lambda: any(row["event"]["name"] == "secret.written" for row in place.events()))

    # When a person presses Ctrl-C: the terminal signals the whole group
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)

    # Then it ends with 130 and a verdict, and nothing is left
    result = json.loads(out)
    assert process.returncode == 130
    assert (result["ended"], result["verdict"]) == ("interrupted", "HELD")
    assert place.is_clean()


def test_ctrl_c_while_the_server_is_away_for_a_moment_ends_in_order(place: Place) -> None:
    # Given a run whose server has just died
    process = place.start("run", "--json", "--for", "60s", "--kill", "redis@2s")
    await_true(lambda: any(victim == "redis" for victim, _, _ in died(place)), 20)

    # When a person presses Ctrl-C
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)

    # Then it ends with 130 and a verdict all the same
    assert process.returncode == 130, err.decode()
    assert json.loads(out)["ended"] == "interrupted"
    assert place.is_clean()


def test_ctrl_c_while_robots_are_being_born_leaves_nothing(place: Place) -> None:
    process = place.start("run", "-n", "8")
    await_true(lambda: len(place.processes()) > 3)

    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)

    assert process.returncode == 130
    await_true(place.is_clean)


def test_sigterm_of_the_parent_stops_the_run_in_order(place: Place) -> None:
    process = place.start("run", "--json", "--for", "60s")
    await_true(lambda: any(row["event"]["name"] == "secret.written" for row in place.events()))

    process.terminate()
    out, _ = process.communicate(timeout=20)

    assert json.loads(out)["ended"] == "stopped"
    assert process.returncode == 0
    assert place.is_clean()


def test_kill_9_of_the_parent_leaves_no_process_no_socket_no_folder(place: Place) -> None:
    process = place.start("run", "--for", "60s")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))
    live = place.folder / "runs/latest/live.json"
    assert json.loads(live.read_text())["pid"] == process.pid
    assert live.stat().st_mode & 0o777 == 0o600
    assert len(place.processes()) > 12, "6 RQ workers, their horses, relay, server, janitor, parent"

    process.kill()
    process.communicate(timeout=20)

    await_true(place.is_clean)
    assert not list(place.folder.glob("runs/*/live.json"))


def test_a_relay_killed_again_and_again_loses_nothing(place: Place) -> None:
    # Given a run with much traffic held at the relay
    process = place.start("run", "--json", "--for", "4s", "--delay", "20ms..80ms")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))

    # When its relay is killed three times
    for number in range(1, 4):
        await_true(lambda number=number: len(pids(place, "relay:")) == number)
        time.sleep(0.4)
        os.kill(pids(place, "relay:")[-1], signal.SIGKILL)

    # Then every envelope still has its one fate, and the record adds up
    out, err = process.communicate(timeout=40)
    result = json.loads(out)
    assert process.returncode == 0, (result["promises"], err.decode())
    assert result["promises"]["accounted"]["state"] == "HELD"
    assert place.is_clean()


def test_a_robot_killed_in_the_middle_is_born_again_with_all_it_knew(place: Place) -> None:
    # Given a run that goes on, and the horses of two RQ workers
    process = place.start("run", "--json", "--for", "5s")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))
    horses = [child for worker in pids(place, "rq:")[:2] for child in _children(worker)]
    assert len(horses) == 2

    # When they are killed
    for horse in horses:
        os.kill(horse, signal.SIGKILL)

    # Then their RQ workers run them again, as second lives that forgot nothing
    out, err = process.communicate(timeout=40)
    result = json.loads(out)
    assert process.returncode == 0, (result["promises"], err.decode())
    born = [row for row in place.events() if row["event"]["name"] == "robot.born" and row["incarnation"] == 2]
    assert len(born) == 2
    assert result["restarts"] == 2
    assert place.is_clean()


def test_a_relay_killed_while_it_drains_has_a_successor_that_finishes(place: Place) -> None:
    # Given a run whose relay holds many copies when the robots stop
    process = place.start("run", "--json", "--for", "5s", "--delay", "600ms..1500ms", "--seed", "5")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))
    [live] = place.folder.glob("runs/latest/live.json")
    [first] = pids(place, "relay:")
    with redis.Redis.from_url(json.loads(live.read_text())["url"]) as client:
        run = place.events()[0]["run"]
        await_true(lambda: is_stopped(client, run), 40)  # of which the record tells too late: it may have drained

    # When that relay is killed
    os.kill(first, signal.SIGKILL)

    # Then the record adds up nevertheless, tells of that death, and of no orderly end
    out, err = process.communicate(timeout=40)
    result = json.loads(out)
    assert process.returncode == 0, (result["promises"], err.decode())
    assert died(place) == [("relay:0", first, -signal.SIGKILL)]
    assert place.is_clean()


def test_a_server_that_pauses_costs_time_and_nothing_else(place: Place) -> None:
    # Given a run in the middle of it, whose plan changes all the while
    faults = ("--loss", ".3", "--fault", "corrupt .2 @1s+200ms every 500ms")
    process = place.start("run", "--json", "--for", "9s", "--secret", "word " * 400, *faults, "--limit", "45s")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))

    # When its server does not answer for longer than anybody insists
    [server] = pids(place, "redis")
    os.kill(server, signal.SIGSTOP)
    time.sleep(6)
    os.kill(server, signal.SIGCONT)

    # Then all promises hold, and nobody died of it
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert process.returncode == 0, (result["promises"], err.decode())
    assert died(place) == []
    assert not any("Traceback" in log.read_text() for log in place.folder.glob("runs/latest/logs/rq-*"))
    assert place.is_clean()


def test_the_death_of_an_rq_worker_names_its_robot_even_while_the_server_is_away(place: Place) -> None:
    # Given a run that goes on, and a server that answers nobody
    process = place.start("run", "--json", "--for", "6s", "--copies", "2", "-n", "4")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))
    [server], workers = pids(place, "redis"), pids(place, "rq:")
    os.kill(server, signal.SIGSTOP)

    # When an RQ worker is killed
    os.kill(workers[0], signal.SIGKILL)
    await_true(lambda: died(place), 20, "the news")
    os.kill(server, signal.SIGCONT)

    # Then it was told which robot died of it
    [(victim, pid, status)] = died(place)
    assert victim in {f"rq:r{number:02d}" for number in range(4)}
    assert (pid, status) == (workers[0], -signal.SIGKILL)
    # and it lives on as soon as the server is back, long before the run's limit
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, json.loads(out)["promises"]
    assert json.loads(out)["lives"] == {victim.removeprefix("rq:"): 2}
    assert place.is_clean()


def test_a_private_server_that_is_killed_lives_again_with_all_that_it_held(place: Place) -> None:
    # Given a run that goes on
    process = place.start("run", "--json", "--for", "4s")
    await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))

    # When its server is killed
    [server] = pids(place, "redis")
    os.kill(server, signal.SIGKILL)
    out, err = process.communicate(timeout=40)

    # Then another one takes its place, and nothing was lost
    assert process.returncode == 0, (json.loads(out)["promises"], err.decode())
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
        more = ("--secret", "word " * 400, "--loss", ".3", "--for", "6s", "--limit", "45s")
        process = place.start("run", "--json", "--redis-url", f"unix://{folder}/s", *more)
        await_true(lambda: any(row["event"]["name"] == "run.started" for row in place.events()))

        # When that server is killed, and started again a second later
        server.kill()
        server.wait()
        time.sleep(1)
        server = serve(folder)

        # Then all promises hold
        out, err = process.communicate(timeout=60)
        result = json.loads(out)
        assert process.returncode == 0, (result["promises"], err.decode())
        with redis.Redis(unix_socket_path=f"{folder}/s") as client:
            assert client.keys("*") == []
        assert place.is_clean()
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


def test_a_long_temporary_folder_is_no_obstacle(place: Place) -> None:
    # Given a TMPDIR in which no socket can have its place
    deep = place.temporary / ("d" * 100)
    deep.mkdir()
    place.environment["TMPDIR"] = str(deep)

    # When a run goes on
    process = place.start("run", "--json", "-n", "3", "--preset", "calm")
    announced = await_true(lambda: list(place.folder.glob("runs/*/live.json")))
    socket = Path(await_true(lambda: json.loads(announced[0].read_text() or "{}"))["url"].removeprefix("unix://"))
    assert socket.exists()

    # Then it ends well, and leaves nothing there, nor where its server was instead
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, (out, err.decode())
    assert not socket.parent.exists()
    assert list(deep.iterdir()) == []
    assert not place.processes()


def died(place: Place) -> list[tuple[str, int, int]]:
    """The deaths that were told: name, pid, status."""
    told = [row["event"] for row in place.events() if row["event"]["name"] == "process.died"]
    return [(event["process"], event["pid"], event["status"]) for event in told]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_impatience_changes_nothing(place: Place) -> None:
    # Given a run that a person ended with Ctrl-C
    process = place.start("run", "--json", "--for", "60s")
    await_true(lambda: any(row["event"]["name"] == "secret.written" for row in place.events()))

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
    assert b"complete" in process.stderr.readline(), "progress of long work"

    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=40)

    assert (process.returncode, json.loads(out)["ended"], err.count(b"Traceback")) == (130, "interrupted", 0)


def test_readers_who_leave_neither_end_a_run_nor_change_its_exit_code(place: Place) -> None:
    process = place.start("run", "-n", "3")
    assert process.stderr is not None
    assert process.stdout is not None
    process.stderr.close()
    process.stdout.close()

    assert process.wait(40) == 0
    assert json.loads((place.folder / "runs/latest/verdict.json").read_text())["verdict"] == "HELD"
    assert place.is_clean()
