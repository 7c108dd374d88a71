"""Anomalies of live runs: the leader reports them while the run goes on, and its successor goes on from there."""

import json
import os
import signal
import subprocess

import pytest

from deploy.attach.events import RunEvents
from telemetry.events import AnomalyBegan, AnomalyEnded, Stamped
from tests.live.cluster import Cluster, begin
from tests.support.live_place import LIVE, Place, not_held
from tests.support.waiting import await_true

pytestmark = LIVE


def test_a_paused_robot_and_a_paused_relay_are_reported_and_the_record_shows_the_same(place: Place) -> None:
    # Given a run in which a robot and a relay stop for a while, the robot twice: a busy machine may sleep through once
    code, result, err = place.run(
        *("-n", "4", "--seed", "3", "--for", "8s", "--pause", "r01@1s+1800ms", "--pause", "r01@5s+1800ms"),
        *("--pause", "relay@5s+2s"),
    )
    assert code == 0, (result.get("promises"), err)
    # Then the leader reported both, and a person saw it
    reported = [row["event"] for row in place.events() if row["event"]["name"] == "anomaly.began"]
    found = {(event["rule"], event["about"]) for event in reported}
    assert {("late beat", "r01"), ("relay lag", "relay:0")} <= found
    assert "unusual: r01 (late beat): no event for" in err
    # and the record shows them again
    done = subprocess.run(
        [*place.program, "anomalies", "latest", "--json"],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        check=True,
    )
    again = {(anomaly["rule"], anomaly["about"]) for anomaly in json.loads(done.stdout)["anomalies"]}
    assert {("late beat", "r01"), ("relay lag", "relay:0")} <= again


@pytest.mark.long
def test_a_successor_ends_what_the_dead_leader_began_and_begins_it_not_again(cluster: Cluster) -> None:
    # Given a robot that is cut off from the others for a long time, and two supervisors
    fault, thresholds = ("--fault", "partition r00 @0s+14s"), ("--anomalies", "unheard 15")
    parts = begin(cluster, 3, "-n", "3", "--preset", "calm", *fault, *thresholds)
    cluster.start("supervise")
    seen: list[Stamped] = []
    events = RunEvents(cluster.client, cluster.run, "", seen.append)

    def of(kind: type[AnomalyBegan] | type[AnomalyEnded]) -> list[Stamped]:
        events.read()
        return [
            stamped
            for stamped in seen
            if isinstance(stamped.event, kind) and (stamped.event.rule, stamped.event.about) == ("deaf robot", "r00")
        ]

    await_true(lambda: of(AnomalyBegan), what="the anomaly's beginning")
    # When the leader is killed while it stands
    os.kill(parts["supervise"].pid, signal.SIGKILL)
    parts["supervise"].wait()
    # Then the threshold is the one that the run was dealt with,
    [began] = of(AnomalyBegan)
    assert isinstance(began.event, AnomalyBegan)
    assert began.event.detail.startswith("15 envelopes or more")
    # and its successor reports the end, and reported no second beginning
    await_true(lambda: of(AnomalyEnded), what="the anomaly's end")
    [began], [ended] = of(AnomalyBegan), of(AnomalyEnded)
    assert began.source.startswith("supervisor:")
    assert ended.source.startswith("supervisor:")
    assert ended.source != began.source
    code, result = cluster.verify()
    assert code == 0, not_held(result)
