"""A run on a server to which other people write: garbage where RQ keeps its data costs no process and no promise."""

from __future__ import annotations

import signal

import pytest

from deploy.rq.leases import QUEUE
from tests.live.cluster import Cluster, begin
from tests.support.live_place import END_S, LIVE, UNTIL_STOPPED
from tests.support.waiting import await_true

pytestmark = LIVE

GARBAGE = (b"\xff", "a b", "", "x" * (1 << 20), "no-such-job")


def are_equal(cluster: Cluster) -> bool:
    """Whether the four robots hold equally many parts."""
    parts = [robot["parts"] for robot in cluster.robots().values()]
    return len(parts) == 4 and len(set(parts)) == 1


@pytest.mark.long
def test_a_run_is_held_whatever_is_written_where_rq_keeps_its_data(cluster: Cluster) -> None:
    # Given a run, a supervisor that stands by, and a command that waits for the end
    parts = begin(cluster, 3, "-n", "3", *UNTIL_STOPPED)
    parts["standby"] = cluster.start("supervise")
    verify = cluster.start("verify", "--wait", "--json")
    cluster.await_states(r00="running", r01="running", r02="running")

    # When garbage comes to the queue, to the jobs that were taken, to the leases, to RQ workers and to a robot's job
    client = cluster.client
    client.rpush(f"rq:queue:{QUEUE}", *GARBAGE)
    client.rpush(f"rq:queue:{QUEUE}:intermediate", *GARBAGE)
    client.zadd(f"rq:wip:{QUEUE}", dict.fromkeys(GARBAGE, 1e12))
    client.sadd(f"rq:workers:{QUEUE}", *GARBAGE)
    fields = ("status", "worker_name", "host", "pid", "holder", "created_at", "timeout", "origin")
    client.hset(f"rq:job:robot-{cluster.run}-r00", mapping=dict.fromkeys(fields, b"\xff"))

    # Then a person still sees the robots,
    assert cluster.do("ps", cluster.run)[0] == 0
    # what stood in the queue is refused by the next RQ worker that is free,
    parts["another worker"] = cluster.start("worker")
    await_true(lambda: client.zcard(f"rq:failed:{QUEUE}") == len(GARBAGE), what="the refusals")
    assert client.llen(f"rq:queue:{QUEUE}") == 0
    # the robot's next life is run as any other,
    assert cluster.do("kill", "r00")[0] == 0
    await_true(lambda: cluster.lives("r00") == 2, what="the next life of r00")
    # and when all robots know the same, one that joined too, all promises hold
    await_true(lambda: are_equal(cluster), what="the end of the gossip")
    cluster.stop()
    out, err = verify.communicate(timeout=END_S)
    assert verify.returncode == 0, (err.decode(), out.decode())
    for name in ("supervise", "standby", "relay"):
        assert parts[name].wait(timeout=END_S) == 0, (name, cluster.received(parts[name]))
    # and no RQ worker has ended
    for name in ("worker", "another worker"):
        assert parts[name].poll() is None
        parts[name].send_signal(signal.SIGTERM)
        assert parts[name].wait(timeout=END_S) == 0
    reported = cluster.received(parts["worker"]) + cluster.received(parts["another worker"])
    assert (reported.count(" is refused: "), reported.count("ended: ")) == (len(GARBAGE), 0), reported
