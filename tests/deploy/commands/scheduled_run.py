"""A run that looks live from outside: a thread of the test is its leader and its relays. No tests here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

from broker.control_entries import Birth, PlanChange, encode_control
from broker.faults.feasible import RunFacts
from broker.faults.grammar import parse_lines
from broker.faults.schedule import timed
from broker.faults.scheduler import PlanScheduler
from broker.ports.run import RunSpec
from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.plan_log import StreamRequests
from robots.run.chaos import Chaos
from tests.support.recorded_settings import settings_row

PLAN = "loss 0.2; duplicate 0.1; partition hold r00|r01 @1h+3s"
SPLIT = {"instance": 2, "fault": "partition hold r00|r01"}
FOR_US = 60_000_000
LIMIT_US = 7_200_000_000
URL = "unix:///nowhere/redis.sock"

_runs = count()


def announce(place: Path, run: str, url: str = URL, pid: int | None = None) -> Path:
    """A folder of a run that is live, as far as can be seen from outside."""
    folder = place / "runs" / run
    folder.mkdir(parents=True)
    (folder / "live.json").write_text(
        json.dumps({"control": url, "data": url, "pid": os.getpid() if pid is None else pid})
    )
    plan = [line.text() for line in parse_lines(PLAN)]
    settings = settings_row(run=run, for_us=FOR_US, limit_us=LIMIT_US, plan=plan, instances=[*range(len(plan))])
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


class LabInjector:
    """Does everything at once, but nothing to the processes that are `beyond` reach. What is killed dies, unless it is
    `immortal`; what is `late` goes between the check and the injection."""

    def __init__(self, log: StreamFleetLog) -> None:
        self.beyond, self.late, self.immortal = set[str](), set[str](), set[str]()
        self._log = log

    def can(self, verb: str, name: str) -> bool:
        return name not in self.beyond

    def inject(self, verb: str, victim: str) -> bool:
        if verb in ("kill", "amnesia") and victim not in self.immortal | self.late:
            self._log.death(victim, victim, 1, "signal", -9)
        return victim not in self.late


class Lab:
    """A run whose leader and relays are a thread of this test. Relays of `silent` shards meet nothing. With `facts` the
    leader refuses what the run can never do."""

    facts: RunFacts | None = None

    def __init__(self, server: EmbeddedServer, place: Path, shards: int, silent: tuple[int, ...] = ()) -> None:
        self.run = f"f{next(_runs):05d}"
        self.url = server.url
        self.client = connect(server.url)
        self.keys = Keys(self.run)
        self.run_control = StreamRunControl(self.client, self.run)
        self.scheduler = PlanScheduler(timed(parse_lines(PLAN)), FOR_US)
        self.folder = announce(place, self.run, server.url)
        log = StreamFleetLog(self.client, self.run)
        self.injector = LabInjector(log)
        self._chaos = Chaos(1, 4, log, self.injector, lambda _event: None)
        self._shards = shards
        self._silent = silent
        robots = {f"r{number:02d}": [b"header"] for number in range(4)}
        self.run_control.deal(RunSpec(self.run, shards, self.scheduler.first, robots, b"terms"))
        for shard in range(shards):
            self._meet(shard, "0-1", self.scheduler.first)
            self.client.xadd(self.keys.control(shard), {"control": encode_control(Birth("r00", 1, "nonce"))}, id="1-1")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._schedule)

    def start(self, go: bool = True) -> None:
        """Give the order go, and follow the plan from now on."""
        if go:
            self.run_control.order("go")
        self.began = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.client.close()

    def put(self, change: PlanChange) -> None:
        """Into every outbox; the relays that are there meet it at once."""
        for shard in range(self._shards):
            entry = self.client.xadd(self.keys.outbox(shard), {"control": encode_control(change)}).decode()
            self._meet(shard, entry, change)

    def requests(self) -> list[str]:
        return [request.text for request in StreamRequests(self.client, self.run).read()]

    def _meet(self, shard: int, entry: str, change: PlanChange) -> None:
        if shard not in self._silent:
            self.client.xadd(self.keys.control(shard), {"control": encode_control(change)}, id=entry)

    def _schedule(self) -> None:
        while not self._stop.wait(0.005):
            for request in self.run_control.requests():
                now_us = round((time.monotonic() - self.began) * 1e6)
                is_about_processes = self.scheduler.is_about_processes(request.text, now_us)
                answer = self.scheduler.answer(request.entry, request.text, now_us, self.facts)
                if is_about_processes:
                    StreamFleetLog(self.client, self.run).acknowledge(request.entry, request.text, answer.refusal)
                else:
                    self.put(answer)
            dues = self.scheduler.due_faults(round((time.monotonic() - self.began) * 1e6))
            self._chaos.play(dues, ["r00", "r01", "r02", "r03", "relay:0"])
