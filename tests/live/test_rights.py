"""The rights that `robots doctor` asks for are those that a run needs: no fewer, on the server of a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.inspection import STREAM_TRIALS
from deploy.rq.rights import RQ_TRIALS
from tests.live.cluster import Cluster, begin
from tests.support.live_place import LIVE, UNTIL_STOPPED, Place, not_held

pytestmark = LIVE

TRIALS = (*RQ_TRIALS, *STREAM_TRIALS)
CONNECTING = ("+@transaction", "+hello", "+auth", "+select")  # by redis-py


@pytest.fixture
def restricted(place: Place) -> Iterator[Cluster]:
    """A cluster whose commands log in as a user that may run nothing but what is checked, on the lab's keys alone."""
    with EmbeddedServer() as server, connect(server.url) as admin:
        rules = (*CONNECTING, *sorted({f"+{trial.rule}" for trial in TRIALS}))
        admin.execute_command("ACL", "SETUSER", "robots", "on", ">secret", "resetchannels", "~lab:*", "~rq:*", *rules)
        cluster = Cluster(place, server)
        cluster.place.environment["ROBOTS_REDIS_URL"] = server.url.replace("unix://", "unix://robots:secret@")
        yield cluster
        cluster.client.close()


def refused(cluster: Cluster) -> set[str]:
    """What the server has refused to the user."""
    log = cluster.client.acl_log()
    return {str(entry["object"]) for entry in log if entry["username"] == "robots"}


def test_a_user_with_the_rights_that_are_checked_can_serve_a_cluster(restricted: Cluster) -> None:
    # Given a user for which all checks are good
    code, out, err = restricted.do("doctor", "--json")
    assert code == 0, (out, err)
    assert {check["name"]: check["state"] for check in json.loads(out)["checks"]}["rights"] == "ok"
    asked = refused(restricted)  # CONFIG and ACL WHOAMI, which a run does not need
    restricted.client.acl_log_reset()
    # When a run is dealt, served, harmed, watched, judged and removed
    begin(restricted, 5, "-n", "4", *UNTIL_STOPPED, "--chaos", "kill robot @1s", "--preset", "storm")
    for command in (
        ("kill", "r01"),
        ("faults", "set", "loss .3"),
        ("crash", "r02/secret_merger"),
        ("ps",),
        ("events",),
    ):
        code, _, err = restricted.do(*command)
        assert code == 0, (command, err)
    restricted.stop()
    code, result = restricted.verify("--forget")
    # Then nothing was refused, and all promises hold
    assert code == 0, not_held(result)
    assert asked <= {"config|get", "acl|whoami"}
    assert refused(restricted) == set()


def test_a_right_that_lacks_is_named(restricted: Cluster) -> None:
    restricted.client.execute_command("ACL", "SETUSER", "robots", "-xadd", "-lmove", "-waitaof")

    code, out, _ = restricted.do("doctor")

    assert code == 4
    [line] = [line for line in out.splitlines() if " rights " in line]
    assert "may not run lmove on rq:*, xadd on lab:*; mend: ACL SETUSER robots +lmove +xadd" in line
    assert out.splitlines()[-1] == "a run of 6 robots does not work here: rights"
    assert list(restricted.client.scan_iter()) == []


def test_a_run_can_follow_what_the_doctor_calls_usable(place: Place) -> None:
    with EmbeddedServer() as server:
        code, out, err = Cluster(place, server).do("doctor", "-n", "4")

    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[:-1] if " terminal " not in line].count("ok") == 12
