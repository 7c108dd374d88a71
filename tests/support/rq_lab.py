"""A laboratory of RQ workers on a real server, with real processes and real kills. No tests here."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import rq
from rq import get_current_job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from broker.faults.shaping_faults import Loss
from broker.ports.run import RunSpec
from broker.relay.core import Relay
from broker.streams.address import Address
from broker.streams.connection import Server, connect
from broker.streams.embedded import find_binary
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from deploy.fleet.relay_main import relay
from deploy.processes.children import Children
from deploy.processes.forking import release_signals
from deploy.rq import heartbeat
from deploy.rq.job import ALWAYS, ROBOT_JOB, RobotJob
from deploy.rq.leases import QUEUE
from deploy.rq.observed import LostJobs
from deploy.rq.queue import enqueue_robot, poll_jobs, requeue
from deploy.rq.worker import work
from robots.journal import Header, PartKept, encode_entry
from robots.run.deal import Terms, encode_terms
from robots.secret import cut
from tests.support.plan_change import plan_change
from tests.support.waiting import await_true

STARTS_KEY = "test:starts"  # the pid of each horse that reached its job
ENDS_KEY = "test:ends"


def beating(_run, _robot):
    """A job that beats for ever. On SIGTERM it ends in order and asks to be queued again."""
    signals = []
    signal.signal(signal.SIGTERM, lambda *_: signals.append(True))
    release_signals()
    connection = get_current_job().connection
    connection.rpush(STARTS_KEY, os.getpid())
    while not signals:
        heartbeat.beat()
        time.sleep(0.05)
    connection.rpush(ENDS_KEY, os.getpid())
    return rq.Retry(max=ALWAYS)


class Lab:
    """A server, a fleet of RQ workers, and a view of what RQ holds."""

    def __init__(self, server, folder, monkeypatch):
        self.server = server
        self.connection = connect(server.url)
        self.deaths = []
        self.fleet = Children()
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._lost = LostJobs()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.fleet.end_all(0.2)
        self.connection.close()
        gc.unfreeze()

    def robot_is(self, function):
        """From here on, RQ workers run `function` instead of a robot's life."""
        self._monkeypatch.setitem(RobotJob.allowed, ROBOT_JOB, function)

    def start_worker(self, name="rq:r00"):
        url = self.server.url
        return self.fleet.start(
            name, lambda: work(Server.at(Address.one(url)), name.replace(":", "-")), self.folder / f"{name}.log"
        )

    def start_relay(self):
        """The relay of the run `t`."""
        url = self.server.url
        self.run_control = StreamRunControl(self.connection, "t")
        new_core = partial(Relay, "t", 7)
        return self.fleet.start("relay:0", lambda: relay(url, "t", 0, new_core, 1, "lab", 7), self.folder / "relay.log")

    @property
    def evidence(self):
        """What the run `t` has left on its streams."""
        return StreamEvidenceReader(self.connection, "t")

    def lives(self):
        return [int(pid) for pid in self.connection.lrange(STARTS_KEY, 0, -1)]

    def await_life(self, number):
        """The pid of the `number`-th horse that reached its job."""
        return await_true(lambda: len(self.lives()) >= number and self.lives(), what=f"life {number}")[number - 1]

    def run_robot(self, function=beating, robot="r00"):
        """Start the RQ worker rq:r00, and let it run `function` as the life of `robot`; the pid of its horse."""
        self.robot_is(function)
        self.start_worker()
        enqueue_robot(self.connection, "t", robot)
        return self.await_life(1)

    def kill_worker(self):
        self.fleet.signal("rq:r00", signal.SIGKILL)
        assert self.await_death("rq:r00").status == -signal.SIGKILL

    def kill_server_and(self, horse):
        """Kill the server, then the horse, and wait until its RQ worker has reaped it."""
        os.kill(self.server.pid, signal.SIGKILL)
        os.kill(horse, signal.SIGKILL)
        await_true(lambda: not Path(f"/proc/{horse}").exists(), what="the reaping")

    @contextmanager
    def server_again(self):
        """Within, a server on what the killed one has left; the fleet ends before it does."""
        folder = self.server.folder
        options = ["--port", "0", "--unixsocket", f"{folder}/redis.sock", "--appendonly", "yes", "--dir", str(folder)]
        with subprocess.Popen([str(find_binary()), *options], stdout=subprocess.DEVNULL) as again:
            try:
                yield
                self.fleet.end_all(1)
            finally:
                again.kill()

    def leases(self):
        return self.connection.zrange(f"rq:wip:{QUEUE}", 0, -1)

    def queued(self):
        return [job.decode() for job in self.connection.lrange(f"rq:queue:{QUEUE}", 0, -1)]

    def clean_up(self):
        """What a supervisor does about leases that have run out."""
        StartedJobRegistry(QUEUE, connection=self.connection, job_class=RobotJob, serializer=JSONSerializer).cleanup()

    def await_death(self, name):
        def deaths_of_it():
            self.deaths += self.fleet.poll(0.05)
            return [death for death in self.deaths if death.name == name]

        return await_true(deaths_of_it, what=f"the death of {name}")[0]

    def fleet_rows(self):
        """What stands in the fleet log of the run `t`."""
        return StreamFleetLog(self.connection, "t").rows()

    def supervise(self, *robots):
        """What a supervisor does about these robots: it queues lost ones again, and no id twice."""
        for job in self._lost.among(poll_jobs(self.connection, "t", robots), time.monotonic()):
            requeue(self.connection, "t", job)
        queued = self.queued()
        assert len(queued) == len(set(queued))


def deal(lab, robots=2, quiet_us=300_000):
    """A small run, dealt and not yet started."""
    words = cut("two robots share this")
    journals = {
        f"r{number:02d}": [encode_entry(Header("dealt"))]
        + [encode_entry(PartKept(part, None)) for part in words[number::robots]]
        for number in range(robots)
    }
    terms = Terms(robots=robots, shards=1, seed=7, tick_us=50_000, quiet_period_us=quiet_us, median_delay_us=0)
    run_control = StreamRunControl(lab.connection, "t")
    run_control.deal(RunSpec("t", 1, plan_change(Loss(0.0)), journals, encode_terms(terms)))
    return run_control


def births(lab, robot):
    """How many lives of a robot were born. Attempts to write the secret stand in that stream too."""
    return sum(entry.endswith(b"-1") for entry, _ in lab.connection.xrange(Keys("t").birth(robot))) - 1
