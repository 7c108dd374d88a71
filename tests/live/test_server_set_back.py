"""A server that comes back older, while a run lives: a replica that was cut off and then promoted, or a restored dump.

No robot is guilty of what its server forgot, and nothing of such a run is proven.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.streams.embedded import EmbeddedServer
from broker.streams.run.evidence import StreamEvidenceReader
from tests.live.cluster import Cluster, begin
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED, Place
from tests.support.waiting import await_true

pytestmark = LIVE

OLDER = "the run was lost: the server came back older: "
FILES = "appendonlydir"


class Copy:
    """A copy of all that a server held at one moment. While it is written, the copy may lack the very last entries."""

    def __init__(self, server: EmbeddedServer, place: Path) -> None:
        self._server = server
        self._folder = place / "copy"
        shutil.copytree(server.folder / FILES, self._folder)
        self.made_us = time.time_ns() // 1000

    def bring_back(self) -> None:
        """Kill the server, and start it again with the copy in the place of what it held."""
        os.kill(self._server.pid, signal.SIGKILL)
        self._server._process.wait(END_S)
        shutil.rmtree(self._server.folder / FILES)
        shutil.copytree(self._folder, self._server.folder / FILES)
        self._server.start_again()


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


def assert_lost(result: dict[str, Any]) -> None:
    """Nothing is BROKEN and nothing HELD, and the reasons name the server."""
    whys = {name: promise["why"] for name, promise in result["promises"].items()}
    assert {promise["state"] for promise in result["promises"].values()} == {"UNPROVEN"}, whys
    assert (result["verdict"], result["ended"]) == ("UNPROVEN", "lost")
    assert all(why.startswith(OLDER) for why in whys.values()), whys


# When the copy is made, when the server comes back as it was then, and how long robots are quiet before they write:
# long enough for the copy to be older than the write.
MOMENTS = {
    "before any write": ("run.started", "message.sent", "20s"),
    "to before the write": ("run.started", "secret.written", "2s"),
    "to after the write": ("secret.written", "message.sent", "300ms"),
}


@pytest.mark.parametrize(("copied", "lost", "quiet"), MOMENTS.values(), ids=MOMENTS)
def test_a_run_on_a_server_that_comes_back_older_is_lost(
    place: Place, own_server: EmbeddedServer, copied: str, lost: str, quiet: str
) -> None:
    # Given a run on a server of which there is a copy, and on which more has happened since
    options = ("-n", "4", "--seed", "7", *UNTIL_STOPPED, "--quiet-period", quiet)
    process = place.start("run", "--json", "--redis-url", own_server.url, *options)
    place.await_event(copied)
    copy = Copy(own_server, place.folder)
    place.await_event(lost, copy.made_us)
    # When it comes back as it was
    copy.bring_back()
    # Then the run ends long before its time, as lost
    out, err = process.communicate(timeout=END_S)
    assert process.returncode == 3, err.decode()
    assert_lost(json.loads(out))
    assert any(row["event"]["name"] == "server.forgot" for row in place.events())
    # And the same is judged from the record alone
    again = place.start("verify", "--json")
    assert_lost(json.loads(again.communicate(timeout=END_S)[0]))
    assert again.returncode == 3


def begun(cluster: Cluster) -> tuple[Any, Copy]:
    """The processes of a run in which the secret was written, and a copy of its server of before."""
    parts = begin(cluster, 3, "-n", "3", *UNTIL_STOPPED, "--quiet-period", "2s")
    copy = Copy(cluster.server, cluster.place.folder)
    await_true(lambda: StreamEvidenceReader(cluster.client, cluster.run).collect().writes, what="the secret")
    return parts, copy


def test_a_supervisor_ends_a_run_on_a_server_that_came_back_older(cluster: Cluster) -> None:
    # Given a run without a parent, under two supervisors
    standby = cluster.start("supervise")
    parts, copy = begun(cluster)
    # When its server comes back as it was before the write
    copy.bring_back()
    # Then both supervisors say so, and the record does
    for supervisor in (parts["supervise"], standby):
        assert supervisor.wait(timeout=END_S) == 4
        assert "lost" in cluster.received(supervisor)
    code, result = cluster.verify()
    assert code == 3
    assert_lost(result)


@pytest.mark.long
def test_a_supervisor_that_came_later_knows_it_from_the_robots(cluster: Cluster) -> None:
    # Given a run whose only supervisor dies together with its server
    parts, copy = begun(cluster)
    os.kill(parts["supervise"].pid, signal.SIGKILL)
    parts["supervise"].wait(END_S)
    copy.bring_back()
    # When another one comes, which never knew what the server held
    successor = cluster.start("supervise")
    # Then the robots know, and the run ends as lost
    assert successor.wait(timeout=END_S) == 4
    code, result = cluster.verify()
    assert code == 3
    assert_lost(result)
