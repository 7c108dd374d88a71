"""The RQ workers of a host: they wait for their server, and what is printed when they are ended. Real robots are in
tests/live/test_cluster_scaling.py.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from broker.streams.address import Address
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.outage import ServerWatch
from deploy.fleet.worker_group import WorkerGroup, handed_back
from deploy.processes.signals import ShutdownSignals
from deploy.rq.observed import JobSeen
from deploy.rq.queue import rq_workers
from tests.support.waiting import DEADLINE_S

AWAY = "the server does not answer; waiting for it, at most 60 s"


@pytest.mark.live
@pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")
def test_rq_workers_that_begin_while_the_server_is_away_are_there_when_it_is_back() -> None:
    with EmbeddedServer() as server, connect(server.url) as client, ShutdownSignals() as shutdown:
        # Given a server that is away
        os.kill(server.pid, signal.SIGKILL)
        server._process.wait()
        lines: list[str] = []
        deadline = time.monotonic() + DEADLINE_S

        def is_over() -> bool:
            # When it comes back after the RQ workers were found to wait / Then they are there
            if lines == [AWAY] and server._process.poll() is not None:
                server.start_again()
            assert time.monotonic() < deadline
            return any("answers again" in line for line in lines) and len(rq_workers(client)) == 2

        group = WorkerGroup(Address.one(server.url), 2, lines.append, ServerWatch(lines.append))
        assert group.run(shutdown, is_over) == 2
        assert len(lines) == 2


def test_robots_that_were_handed_back_are_named_with_what_became_of_them() -> None:
    jobs = [
        JobSeen("r00", "waiting"),
        JobSeen("r01", "running", "w9"),
        JobSeen("r02", "waiting"),
        JobSeen("r05", "lost"),
    ]
    assert handed_back("abc123", jobs) == (
        "run abc123: r00, r02 handed back, waiting for another RQ worker; r01 handed back, run by another RQ worker;"
        " r05 not handed back: lost until the lease is over"
    )


def test_robots_of_a_run_that_is_over_are_handed_back_to_none() -> None:
    assert (
        handed_back("abc123", [JobSeen("r00", "done"), JobSeen("r01", "done")])
        == "run abc123: r00, r01 not handed back: over"
    )
