"""A run on a server to which other people write: garbage where RQ keeps its data costs no process and no promise."""

from __future__ import annotations

import signal
import sys

import pytest

from deploy.rq.leases import QUEUE
from tests.live.cluster import Cluster, begin
from tests.support.waiting import await_true

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="live runs are for Linux"),
]

GARBAGE = (b"\xff", "a b", "", "x" * (1 << 20), "no-such-job")


def test_a_run_is_held_whatever_is_written_where_rq_keeps_its_data(cluster: Cluster) -> None:
    # Given a run, a supervisor that stands by, one more RQ worker than robots, and a command that waits for the end
    parts = begin(cluster, 4, "-n", "3", "--for", "6s")
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
    # what stood in the queue is refused,
    await_true(lambda: client.zcard(f"rq:failed:{QUEUE}") == len(GARBAGE), 10, "the refusals")
    assert client.llen(f"rq:queue:{QUEUE}") == 0
    # the robot's next life is run as any other,
    assert cluster.do("kill", "r00")[0] == 0
    await_true(lambda: cluster.lives("r00") == 2, 10, "the next life of r00")
    # and all promises hold
    out, err = verify.communicate(timeout=45)
    assert verify.returncode == 0, (err.decode(), out.decode())
    for name in ("supervise", "standby", "relay"):
        assert parts[name].wait(timeout=10) == 0, (name, cluster.received(parts[name]))
    assert parts["worker"].poll() is None
    parts["worker"].send_signal(signal.SIGTERM)
    assert parts["worker"].wait(timeout=5) == 0
    reported = cluster.received(parts["worker"])
    assert (reported.count(" is refused: "), reported.count("ended: ")) == (len(GARBAGE), 0), reported
