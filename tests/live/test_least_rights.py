"""The user that the manifests give to the lab: a whole run needs no more rights, and it has no dangerous one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError

from broker.streams.connection import connect
from tests.live.cluster import Cluster, begin
from tests.support.checkout import ROOT
from tests.support.live_place import LIVE, UNTIL_STOPPED, not_held

pytestmark = LIVE
USERS = ROOT / "deploy/k8s/base/redis/users.acl"
PASSWORD = "of-the-lab"


@pytest.mark.long
def test_a_run_is_held_with_the_rights_of_the_manifests_and_no_others(cluster: Cluster, tmp_path: Path) -> None:
    # Given a server with that user, and processes that log in as it
    [rights] = re.findall(r"^user robots on #@redis-password@ (.+)$", USERS.read_text(), re.MULTILINE)
    cluster.client.execute_command("ACL", "SETUSER", "robots", "on", f">{PASSWORD}", *rights.split())
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    url = cluster.server.url.replace("://", "://robots@")
    cluster.place.environment |= {"ROBOTS_REDIS_URL": url, "ROBOTS_REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    # When a robot is killed by a command in a run of all that the lab does
    begin(cluster, 4, "-n", "4", *UNTIL_STOPPED)
    assert cluster.do("kill", "r01")[0] == 0
    cluster.stop()
    code, result = cluster.verify("--forget")
    # Then every promise is held, and no command was refused
    assert code == 0, not_held(result)
    refused = [entry for entry in cluster.client.acl_log() if entry["username"] == "robots"]
    assert refused == []
    # And `robots doctor` misses none
    _, out, _ = cluster.do("doctor", "--json")
    assert {check["name"]: check["state"] for check in json.loads(out)["checks"]}["rights"] == "ok", out
    # And it can do nothing to the server itself, and nothing with the keys of others
    with connect(url.replace("robots@", f"robots:{PASSWORD}@")) as client:
        for command in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("SHUTDOWN",), ("ACL", "LIST"), ("GET", "other")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)
