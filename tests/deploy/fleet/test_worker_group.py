"""The RQ workers of `robots worker`: which of those that end are started again."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from broker.streams.address import Address
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from deploy.fleet.worker_group import WorkerGroup
from deploy.processes.signals import ShutdownSignals
from deploy.rq.queue import rq_workers

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


def test_rq_workers_that_begin_while_the_server_is_away_are_there_when_it_is_back() -> None:
    with EmbeddedServer() as server, connect(server.url) as client, ShutdownSignals() as shutdown:
        # Given a server that is away
        os.kill(server.pid, signal.SIGKILL)
        server._process.wait()
        lines: list[str] = []

        def is_over() -> bool:
            # When it comes back after both RQ workers gave up / Then they are started again
            if len(lines) < 2:
                return False
            if server._process.poll() is not None:
                server.start_again()
                return False
            return client.ping() and len(rq_workers(client)) == 2

        assert WorkerGroup(Address.one(server.url), 2, lines.append).run(shutdown, is_over) == 2
        assert all("started again" in line for line in lines)
