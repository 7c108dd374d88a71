"""A server, and the commands of a run without a parent that know nothing but its URL. No tests here."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Protocol

import redis

from broker.ports.robot import Injection
from broker.streams.connection import connect
from broker.streams.retry import RETRY_S
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.probes import relay_lease_left_ms
from broker.streams.run.runs import read_run_status
from deploy.attach.events import RunEvents
from tests.support.live_place import END_S, Place
from tests.support.waiting import await_true


class Reachable(Protocol):
    """Anything with a server's URL."""

    @property
    def url(self) -> str: ...


class Cluster:
    """A server, and commands that know nothing but its URL."""

    def __init__(self, place: Place, server: Reachable, client: redis.Redis | None = None) -> None:
        """`client` is the test's own, where the URL alone is not enough."""
        self.place = place
        self.server = server
        self.client = client or connect(server.url)
        place.environment["ROBOTS_REDIS_URL"] = server.url
        self.run = ""

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.place.start(*arguments)

    def do(self, *arguments: str, timeout: float = END_S) -> tuple[int, str, str]:
        process = self.place.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out.decode(), err.decode()

    def deal(self, *arguments: str) -> str:
        code, out, err = self.do("deal", "--json", "--seed", "3", *arguments)
        assert code == 0, err
        self.run = json.loads(out)["run"]
        return self.run

    def verify(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        code, out, err = self.do("verify", "--wait", "--json", *arguments)
        assert out, err
        return code, json.loads(out)

    def await_go(self) -> None:
        def is_begun() -> bool:
            run_status = read_run_status(self.client, self.run)
            return run_status is not None and run_status.go_ms is not None

        await_true(is_begun, what="the order go")

    def robots(self) -> dict[str, dict[str, Any]]:
        code, out, _ = self.do("ps", self.run, "--json")
        return {robot["robot"]: robot for robot in json.loads(out)["robots"]} if code == 0 else {}

    def await_states(self, **wanted: str) -> dict[str, dict[str, Any]]:
        """Until robots are in these states; what `ps` shows of all of them then."""

        def there() -> dict[str, dict[str, Any]]:
            robots = self.robots()
            return robots if all(robots.get(robot, {}).get("state") == state for robot, state in wanted.items()) else {}

        return await_true(there, what=str(wanted))

    def stop(self) -> None:
        """End the run in order when it could end by itself, but for its length."""
        events = RunEvents(self.client, self.run, "", lambda stamped: None)

        def is_done() -> bool:
            events.read_to_end(RETRY_S)
            return events.view.is_done

        await_true(is_done, what="the end of the gossip")
        code, _, err = self.do("stop", self.run)
        assert code == 0, err

    def lives(self, robot: str) -> int:
        rows = StreamEvidenceReader(self.client, self.run).journal(robot)
        return rows[-1].incarnation if rows else 0

    def injections(self) -> list[tuple[str, str]]:
        rows = StreamFleetLog(self.client, self.run).rows()
        return [(f"{row.verb} {row.target}", row.victim) for row in rows if isinstance(row, Injection)]

    def events(self, name: str) -> list[dict[str, Any]]:
        """All events of that name that the record tells of."""
        return [row["event"] for row in self.place.events() if row["event"]["name"] == name]

    def received(self, process: subprocess.Popen[bytes]) -> str:
        """All that an ended process has said."""
        assert process.stderr is not None
        return process.stderr.read().decode()


def is_of_a_run(key: bytes) -> bool:
    return key.startswith(b"lab:") or b":robot-" in key


def begin(cluster: Cluster, workers: int, *deal: str) -> dict[str, subprocess.Popen[bytes]]:
    """A run that has begun, with a supervisor, a relay and RQ workers that are all at work on it."""
    parts = {
        "supervise": cluster.start("supervise"),
        "relay": cluster.start("relay"),
        "worker": cluster.start("worker", "-n", str(workers)),
    }
    cluster.deal(*deal)
    cluster.await_go()  # for which no relay is needed: a slow one may not have found the run yet
    await_true(lambda: relay_lease_left_ms(cluster.client, cluster.run, 0), what="a relay")
    return parts
