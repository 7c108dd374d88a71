"""A run over TLS, as a user with few rights: all of it works, and nothing else does."""

from __future__ import annotations

import json
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from broker.streams.address import with_password
from broker.streams.connection import connect
from deploy.rq.leases import QUEUE
from tests.live.cluster import Cluster, begin
from tests.live.conftest import end
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.redis_nodes import HOST, Sentinels, free_port
from tests.support.redis_users import PASSWORD
from tests.support.servers import demand_tls
from tests.support.tls_redis import Authority, TlsServer
from tests.support.waiting import await_true

pytestmark = LIVE


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    demand_tls()
    with TlsServer(tmp_path_factory.mktemp("tls")) as server:
        yield server


@pytest.fixture
def password_file(tmp_path: Path, place: Place) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    place.environment["ROBOTS_REDIS_PASSWORD_FILE"] = str(path)
    return path


@pytest.fixture
def over_tls(place: Place, tls_server: TlsServer, password_file: Path) -> Iterator[Cluster]:
    cluster = Cluster(place, tls_server, connect(with_password(tls_server.url, PASSWORD)))
    yield cluster
    with tls_server.admin() as admin:
        admin.flushall()
        admin.execute_command("ACL", "LOG", "RESET")
    end(cluster)


@pytest.fixture
def robots_user(tls_server: TlsServer) -> Iterator[redis.Redis]:
    with connect(with_password(tls_server.url, PASSWORD)) as client:
        yield client


COMMANDS = (
    *(("faults", "set", "loss .3"), ("faults", "show"), ("kill", "r00"), ("pause", "r01", "--for", "300ms")),
    *(("crash", "r02/secret_merger"), ("contradict", "r02"), ("kill", "rq:r01"), ("events",), ("traces",), ("why",)),
    *(("anomalies",), ("metrics",), ("runs",), ("ps",)),
)


def test_a_whole_run_works_with_these_rights_and_shows_the_password_nowhere(
    over_tls: Cluster, tls_server: TlsServer, password_file: Path
) -> None:
    # Given a run over TLS, with a password that stands in a file alone
    cluster, place = over_tls, over_tls.place
    parts = begin(cluster, 4, "-n", "3", "--loss", ".1", *UNTIL_STOPPED)
    verify = cluster.start("verify", "--wait", "--json", "--forget")
    cluster.await_states(r00="running", r01="running", r02="running", r03="running")
    # When all is done to it that can be done
    reported = []
    for words in COMMANDS:
        code, *texts = cluster.do(*words)
        assert code == 0, (words, texts)
        reported += texts
    cluster.start("worker")  # in the place of the one that was killed
    cluster.await_states(r00="running", r01="running", r02="running")
    shown = [arguments_and_environment(pid) for pid in place.processes()]
    cluster.stop()
    out, err = verify.communicate(timeout=END_S)
    # Then all promises hold, the server had to refuse nothing, and nothing is left on it
    result = json.loads(out)
    assert verify.returncode == 0, (not_held(result), err.decode())
    with tls_server.admin() as admin:
        assert admin.execute_command("ACL", "LOG") == []
        left = [key for key in admin.scan_iter() if key.startswith(b"lab:") or b":robot-" in key]
        assert left == []
    # and `robots doctor` finds all rights that a run needs
    assert cluster.do("doctor")[0] == 0
    # and the password is in no output, no record, no log, and no process's arguments or environment
    parts["worker"].send_signal(signal.SIGTERM)
    reported += [text.decode() for process in parts.values() for text in process.communicate(timeout=END_S)]
    reported += [out.decode(), err.decode(), *shown, *contents(place.folder, password_file), *contents(place.temporary)]
    assert len(reported) > len(COMMANDS)
    assert [text for text in reported if PASSWORD in text or "correct%3A" in text] == []


def arguments_and_environment(pid: int) -> str:
    return "".join(Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in ("cmdline", "environ"))


def contents(folder: Path, *but: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path not in but)
    return [path.read_text(errors="replace") for path in files]


def test_the_file_by_which_others_find_a_run_is_for_its_user_alone(
    place: Place, tls_server: TlsServer, password_file: Path
) -> None:
    # Given a run with a parent on the server
    process = place.start("run", "-n", "2", *UNTIL_STOPPED, "--redis-url", tls_server.url)
    place.await_event("run.started")
    # When others look for it
    live = place.folder / "runs/latest/live.json"
    # Then only its user can read where it is, and how to log in
    assert live.stat().st_mode & 0o077 == 0
    assert PASSWORD in json.loads(live.read_text())["data"].replace("%3A", ":").replace("%40", "@").replace("%2F", "/")
    place.await_done()
    process.terminate()
    out, err = process.communicate(timeout=END_S)
    assert PASSWORD not in out.decode() + err.decode()
    assert not live.exists()


FORBIDDEN = (
    *("FLUSHALL", "FLUSHDB", "CONFIG GET *", "CONFIG SET dir /", "CONFIG REWRITE", "KEYS *", "SCAN 0", "RANDOMKEY"),
    *(
        "ACL LIST",
        "ACL SETUSER robots +@all",
        "SHUTDOWN",
        "MONITOR",
        "CLIENT LIST",
        "CLIENT KILL ID 1",
    ),
    *("CLIENT PAUSE 1", "REPLICAOF NO ONE", "SAVE", "BGREWRITEAOF", "SWAPDB 0 1", "MODULE LIST", "SLOWLOG GET"),
    *(
        "SUBSCRIBE rq:pubsub:x",
        "PUBLISH rq:pubsub:x y",
        "FUNCTION LIST",
        "SCRIPT FLUSH",
        "SORT rq:x",
        "MIGRATE h 1 k 0 1",
    ),
    *("GET other", "SET other 1", "DEL other", "XADD other * f v", "XADD labx:{r}:out * f v", "LPUSH other 1"),
    *("LMOVE rq:queue:robots other LEFT LEFT", "XREAD STREAMS other 0", "WATCH other", "TYPE other"),
)


@pytest.mark.parametrize("command", FORBIDDEN)
def test_the_user_may_do_nothing_but_its_work(robots_user: redis.Redis, command: str) -> None:
    with pytest.raises(NoPermissionError):
        robots_user.execute_command(*command.split())


def test_a_script_reaches_no_key_that_the_user_may_not_reach(robots_user: redis.Redis) -> None:
    script = robots_user.script_load("return redis.call('GET', KEYS[1])")
    with pytest.raises(RedisError, match=r"(?i)permission"):
        robots_user.evalsha(script, 1, "other")
    with pytest.raises(RedisError, match=r"(?i)permission|can't run this command"):
        robots_user.evalsha(robots_user.script_load("return redis.call('FLUSHALL')"), 0)


def test_no_one_is_let_in_without_a_password(tls_server: TlsServer) -> None:
    for login in ("robots:wrong", "default:", "stranger:x", "replica:x"):
        with redis.Redis.from_url(tls_server.url_of(login)) as client, pytest.raises(AuthenticationError):
            client.ping()


def test_a_job_that_others_queue_is_refused_and_never_run(over_tls: Cluster, tmp_path: Path) -> None:
    # Given an RQ worker, and jobs that name a command of the system: pickled, and as JSON
    worker = over_tls.start("worker")
    trace = tmp_path / "done"
    call = ("os.system", None, [f"touch {trace}"], {})
    client = over_tls.client
    for name, data in (("pickled", pickle.dumps(call)), ("listed", json.dumps(call).encode())):
        stored: dict[Any, Any] = {
            "data": data,
            "origin": QUEUE,
            "status": "queued",
            "created_at": "2026-01-01T00:00:00Z",
        }
        client.hset(f"rq:job:{name}", mapping=stored)
        client.rpush(f"rq:queue:{QUEUE}", name)
    # When it takes them / Then both are refused, with the reason, and nothing was run
    await_true(lambda: client.zcard(f"rq:failed:{QUEUE}") == 2, what="two refusals")
    worker.send_signal(signal.SIGTERM)
    _, err = worker.communicate(timeout=END_S)
    assert err.decode().count(" is refused: ") == 2, err.decode()
    assert not trace.exists()


def complaint(place: Place, *words: str) -> str:
    """The one line of a command that cannot use its server."""
    process = place.start(*words)
    out, err = process.communicate(timeout=END_S)
    assert (process.returncode, out, err.count(b"\n")) == (4, b"", 1), (out, err)
    return err.decode()


START = (("deal",), ("worker",), ("ps",))
TWO = (("worker",), *(pytest.param(words, marks=pytest.mark.long) for words in START if words != ("worker",)))


@pytest.mark.parametrize("words", TWO, ids=" ".join)
def test_a_certificate_that_does_not_verify_is_reported_in_one_line(
    place: Place, tls_server: TlsServer, password_file: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    stranger = Authority(tmp_path / "another")
    url = tls_server.url_of("robots", stranger.certificate)
    assert "certificate verify failed" in complaint(place, *words, "--redis-url", url)
    missing = tls_server.url_of("robots", tmp_path / "none.crt")
    assert "No such file" in complaint(place, *words, "--redis-url", missing)
    # A server that speaks TLS alone answers nothing else; a long-running command waits for it
    if words == ("worker",):
        return
    plain = tls_server.url.replace("rediss://", "redis://").partition("?")[0]
    assert f"no usable server at {HOST}:{tls_server.node.port}: " in complaint(place, *words, "--redis-url", plain)


def test_a_certificate_for_another_host_is_reported_in_one_line(
    place: Place, password_file: Path, tmp_path: Path
) -> None:
    demand_tls()
    with TlsServer(tmp_path, host="192.0.2.1") as server:
        assert "IP address mismatch" in complaint(place, "deal", "--redis-url", server.url)


@pytest.mark.parametrize("words", TWO, ids=" ".join)
def test_a_password_that_is_wrong_or_missing_is_reported_in_one_line(
    place: Place, tls_server: TlsServer, tmp_path: Path, words: tuple[str, ...]
) -> None:
    lets_us_not_in = f"the server at {HOST}:{tls_server.node.port} does not let us in: "
    assert lets_us_not_in in complaint(place, *words, "--redis-url", tls_server.url)
    wrong = tmp_path / "wrong"
    wrong.write_text("a wrong one")
    place.environment["ROBOTS_REDIS_PASSWORD_FILE"] = str(wrong)
    text = complaint(place, *words, "--redis-url", tls_server.url)
    assert lets_us_not_in in text
    assert "a wrong one" not in text


@pytest.mark.long
def test_a_failover_works_with_the_rights_of_the_users(place: Place, password_file: Path, tmp_path: Path) -> None:
    # Given a run on a master that Sentinels watch, with users and passwords throughout
    with Sentinels(tmp_path, "--min-replicas-to-write", "1", has_users=True) as sentinels:
        cluster = Cluster(place, sentinels, connect(with_password(sentinels.url, PASSWORD)))
        begin(cluster, 3, "-n", "3", *UNTIL_STOPPED)
        cluster.await_states(r00="running", r01="running", r02="running")
        # When the roles change, and the old master follows the new one
        sentinels.await_replica(sentinels.swap())
        # Then the run goes on and ends, and no server had to refuse anything
        cluster.stop()
        code, result = cluster.verify()
        assert code == 0, not_held(result)
        for node in sentinels.nodes:
            with node.client() as client:
                assert client.execute_command("ACL", "LOG") == []
        end(cluster)


@pytest.mark.long
def test_wrong_sentinels_are_reported_in_one_line(place: Place, sentinels: Sentinels) -> None:
    unknown = sentinels.url.replace("/lab", "/another")
    closed = ",".join(f"{HOST}:{free_port()}" for _ in range(2))
    for words in START:
        text = complaint(place, *words, "--redis-url", unknown)
        assert "the Sentinels know no master of this name, only lab" in text
        if words != ("worker",):  # which waits
            silent = f"redis+sentinel://{closed}/lab"
            assert "no Sentinel answers: " in complaint(place, *words, "--redis-url", silent)
    # One of them is enough
    assert place.start("deal", "--redis-url", f"redis+sentinel://{closed},{sentinels.addresses}/lab").wait(END_S) == 0
    # No one is promoted while the only replica is away
    for node in sentinels.nodes:
        node.kill()
    await_true(
        lambda: "find the master down" in complaint(place, "ps", "--redis-url", sentinels.url), what="a dead master"
    )
