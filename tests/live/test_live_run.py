"""The live lab, end to end: a real server, real RQ workers, a real relay, and what is left when it is over: nothing."""

import json
from pathlib import Path

import redis

from broker.streams.embedded import EmbeddedServer
from deploy.config.settings import DEFAULT_SECRET
from tests.support.live_place import LIVE, UNTIL_STOPPED, Place, not_held
from tests.support.waiting import await_true

pytestmark = LIVE


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
    "frugal",
    "honest faults",
    "accounted",
    "played",
]


def test_the_default_run_is_held_and_leaves_only_its_record(place: Place) -> None:
    code, result, progress = place.run("--output", "out.txt")

    assert code == 0, (not_held(result), progress)
    assert (result["verdict"], result["ended"], result["robots"], result["parts"]) == ("HELD", "complete", 6, 11)
    assert {name: finding["state"] for name, finding in result["promises"].items()} == dict.fromkeys(PROMISES, "HELD")
    assert result["winner"] in {f"r{n:02d}" for n in range(6)}
    assert result["until_complete"]["messages"]["lost"] > 0
    assert (place.folder / "out.txt").read_text() == DEFAULT_SECRET
    assert (place.folder / result["record"] / "secret.txt").read_text() == DEFAULT_SECRET
    assert f"seed {result['seed']}" in progress
    assert place.is_clean(), (place.processes(), list(place.temporary.iterdir()))
    assert sorted(path.name for path in place.folder.iterdir()) == ["out.txt", "runs"]


def test_a_secret_of_any_shape_comes_back_byte_for_byte(place: Place) -> None:
    secret = "\n  Zwei Sätze.  Mit   Lücken!\t\n\nUnd ein 日本語 Absatz.\r\n " + "wort " * 2000 + "\n"
    (place.folder / "secret").write_bytes(secret.encode())

    code, result, progress = place.run("--secret-file", "secret", "-n", "4", "--copies", "2", "--loss", ".1")

    assert code == 0, (not_held(result), progress)
    assert (place.folder / result["record"] / "secret.txt").read_bytes() == secret.encode()
    assert place.is_clean()


def test_a_server_that_is_not_ours_is_left_as_it_was(place: Place) -> None:
    with EmbeddedServer() as server, redis.Redis.from_url(server.url) as client:
        code, result, progress = place.run("--redis-url", server.url, "-n", "3", "--preset", "calm")

        assert code == 0, (not_held(result), progress)
        assert client.keys("*") == []
    assert place.is_clean()


def test_a_long_temporary_folder_is_no_obstacle(place: Place) -> None:
    # Given a TMPDIR in which no socket can have its place
    deep = place.temporary / ("d" * 100)
    deep.mkdir()
    place.environment["TMPDIR"] = str(deep)

    # When a run goes on
    process = place.start("run", "--json", "-n", "3", "--preset", "calm", *UNTIL_STOPPED)
    announced = await_true(lambda: list(place.folder.glob("runs/*/live.json")))
    socket = Path(await_true(lambda: json.loads(announced[0].read_text() or "{}"))["data"].removeprefix("unix://"))
    assert socket.exists()

    # Then it ends well, and leaves nothing there, nor where its server was instead
    code, result, err = place.stop(process)
    assert code == 0, (not_held(result), err)
    assert not socket.parent.exists()
    assert list(deep.iterdir()) == []
    assert not place.processes()
