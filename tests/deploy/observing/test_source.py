"""Which run is meant, and that a live run, a run on a server and a record give the same history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import redis

from broker.streams.connection import UnsupportedServer, connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.events import BlockingEventLog
from deploy.attach.discovery import RunLocation
from deploy.config.settings import PlaceSettings, load_place
from deploy.observing.source import history_of_run, locate_run, observe_run
from telemetry.events import RobotBorn, RobotStarted, Stamped
from telemetry.record.folder import NoSuchRun
from telemetry.stream.publisher import encode_events
from tests.deploy.commands.scheduled_run import announce
from tests.support.terminal import Terminal

pytestmark = pytest.mark.live


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def dealt(server: EmbeddedServer, client: redis.Redis, here: Path, terminal: Terminal) -> str:
    """A run that was dealt on a server, and nothing more."""
    return str(terminal.do("deal", "--json", "-n", "3", "--redis-url", server.url).row["run"])


@pytest.fixture
def recorded(here: Path, terminal: Terminal) -> str:
    """A run that was simulated and recorded here."""
    result = terminal.do("simulate", "--json", "--seed", "7", "-n", "3")
    return str(json.loads(result.out)["run"])


def here_is(url: str | None = None) -> PlaceSettings:
    return load_place({} if url is None else {"redis_url": url})


def stamped(run: str, number: int, robot: str = "r00") -> Stamped:
    event = RobotBorn(1, 2) if number == 1 else RobotStarted()
    return Stamped(run, robot, 1, number, 1_700_000_000_000_000 + number, number, event)


@pytest.mark.parametrize("name", [None, "latest", "id", "prefix", "folder"])
def test_a_record_is_found_by_each_of_its_names(recorded: str, name: str | None) -> None:
    # Given a record, and no live run
    names = {"id": recorded, "prefix": recorded[:3], "folder": f"runs/{recorded}"}
    # When it is asked for
    observed = observe_run(here_is(), None if name is None else names.get(name, name))
    # Then it is all there
    assert observed.history.settings.run == recorded
    assert observed.verdict is not None
    assert observed.verdict["verdict"] in ("HELD", "UNPROVEN")
    assert observed.folder == Path("runs").resolve() / recorded
    assert observed.made_us is not None
    assert len(observed.history.fates) > 0
    assert observed.history.events[0].event.robots == 3  # type: ignore[union-attr]


def test_a_live_run_is_meant_before_a_record(recorded: str, here: Path) -> None:
    announce(here, "7b08e1")

    found = locate_run(here_is(), None)

    assert isinstance(found, RunLocation)
    assert found.run == "7b08e1"


def test_a_record_is_read_though_a_server_is_named(recorded: str, server: EmbeddedServer, client: redis.Redis) -> None:
    for name in (recorded, f"runs/{recorded}"):
        assert history_of_run(here_is(server.url), name).settings.run == recorded


def test_a_run_on_a_server_is_read_from_there(dealt: str, server: EmbeddedServer, client: redis.Redis) -> None:
    # Given a run that was dealt on a server, and some events of it
    BlockingEventLog(client, Keys(dealt).events).append(encode_events([stamped(dealt, 1), stamped(dealt, 2)]))
    StreamRunControl(client, dealt).order("go")
    # When it is observed, without a name or by its name
    for name in (None, dealt, dealt[:4]):
        observed = observe_run(here_is(server.url), name)
        # Then it is what the server holds
        history = observed.history
        assert (history.settings.run, len(history.dealt), observed.verdict) == (dealt, 11, None)
        assert [row.order for row in history.orders] == ["dealt", "go"]
        assert {row.robot for row in history.journals} == {"r00", "r01", "r02"}
        assert [s.number for s in history.events if s.source == "r00"] == [1, 2]
        assert len(history.controls) == 0  # no relay has read the plan yet


def test_events_that_were_trimmed_come_from_the_file_of_the_recorder(
    dealt: str, server: EmbeddedServer, client: redis.Redis, here: Path
) -> None:
    # Given a run that is recorded here, whose oldest events are in the file alone, and whose last line is half written
    folder = announce(here, dealt, server.url)
    lines = [msgspec.json.encode(stamped(dealt, number)).decode() for number in (1, 2, 3)]
    (folder / "events.jsonl").write_text("\n".join(lines) + '\n{"run": "ha')
    BlockingEventLog(client, Keys(dealt).events).append(encode_events([stamped(dealt, 3), stamped(dealt, 4)]))
    # When it is observed
    history = history_of_run(here_is(), dealt)
    # Then every event is there, each once
    assert [s.number for s in history.events if s.source == "r00"] == [1, 2, 3, 4]


def test_a_damaged_line_in_the_file_of_the_recorder_costs_no_other_event(
    dealt: str, server: EmbeddedServer, client: redis.Redis, here: Path
) -> None:
    # Given a run that is recorded here, with a line that is no event between others that the stream has no more
    folder = announce(here, dealt, server.url)
    lines = [msgspec.json.encode(stamped(dealt, number)).decode() for number in range(1, 7)]
    lines[2] = lines[2].replace(dealt, "")[:-9]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    # When it is observed
    history = history_of_run(here_is(), dealt)
    # Then all others are there
    assert [s.number for s in history.events if s.source == "r00"] == [1, 2, 4, 5, 6]


def test_a_live_run_without_a_file_of_the_recorder_is_read_from_its_stream(
    dealt: str, server: EmbeddedServer, client: redis.Redis, here: Path
) -> None:
    # Given a run whose record has a folder in the place of the file
    (announce(here, dealt, server.url) / "events.jsonl").mkdir()
    BlockingEventLog(client, Keys(dealt).events).append(encode_events([stamped(dealt, 1)]))
    # Then it is what the server holds
    assert [s.number for s in history_of_run(here_is(), dealt).events if s.source == "r00"] == [1]


def test_a_record_that_cannot_be_read_is_complained_of_by_its_file(recorded: str) -> None:
    (Path("runs") / recorded / "fates.jsonl").write_text("no row\n")

    with pytest.raises(NoSuchRun, match=rf"run {recorded} has no record that can be read: fates.jsonl: line 1"):
        observe_run(here_is(), recorded)


def test_what_is_nowhere_is_complained_of(here: Path, server: EmbeddedServer, client: redis.Redis) -> None:
    with pytest.raises(NoSuchRun, match="no run is recorded in runs/ yet"):
        locate_run(here_is(), None)
    with pytest.raises(NoSuchRun, match="no run 'abc'"):
        locate_run(here_is(), "abc")
    with pytest.raises(NoSuchRun, match="no run is live on the server"):
        locate_run(here_is(server.url), None)


def test_a_server_that_is_gone_is_complained_of(here: Path) -> None:
    announce(here, "7b08e1", url="unix:///nowhere/redis.sock")

    with pytest.raises(UnsupportedServer, match="no usable server"):
        observe_run(here_is(), None)
