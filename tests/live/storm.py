"""Storms over a run without a parent: SIGKILL and SIGSTOP for anything that belongs to it, on a server of its own.

    python -m tests.live.storm 1..10
    python -m tests.live.storm 3 --seconds 20 --keep /tmp/storms

A storm hits supervisors, relays, `robots worker`, RQ workers, robots and the server, as its seed draws; what died is
started again a moment later, as an init system would. Then it is calm, and the run has time to end. One line for each
storm: what was hit, the verdict, and what does not hold. Exit status 1 when a verdict is BROKEN, or there is none:
then read the record. Not a part of the suite, because a storm takes a minute and a half.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

from broker.streams.embedded import EmbeddedServer
from tests.live.cluster import Cluster
from tests.support.live_place import Place, not_held
from tests.support.sweep import parser_of, sweep

ROBOTS = 6
COMMANDS = (("supervise",), ("supervise",), ("relay",), ("relay",), ("worker", "-n", "4"), ("worker", "-n", "4"))
SPARE = 6  # RQ workers that come after the storm
CALM_S = 25  # after the storm, until the run ends
_HIT_S = (0.2, 1.5)  # between two of them
_AGAIN_S = (0.2, 1.5)  # until something that died is started again
_STOPPED_S = (0.3, 4.5)


class Storm:
    """One storm. `cluster` is what it hits."""

    def __init__(self, cluster: Cluster, seed: int, seconds: float) -> None:
        self.hits: Counter[str] = Counter()
        self._cluster = cluster
        self._chance = Random(seed)
        self._end_s = time.monotonic() + seconds
        self._running = [cluster.start(*command) for command in COMMANDS]
        self._again_s: dict[int, float] = {}  # when a command, or the server (-1), is started again
        self._stopped: list[tuple[float, int]] = []  # until when, and what

    def rage(self) -> None:
        """Until its time is over; then all that was stopped goes on, and all that died is there again."""
        hit_s = time.monotonic() + 1
        while (now_s := time.monotonic()) < self._end_s:
            self._continue(now_s)
            self._start_again(now_s)
            if now_s >= hit_s:
                self._hit(now_s)
                hit_s = now_s + self._chance.uniform(*_HIT_S)
            time.sleep(0.02)
        self._continue(float("inf"))
        self._start_again(time.monotonic())
        self._start_again(float("inf"))

    def _hit(self, now_s: float) -> None:
        what = self._chance.choice(("supervise", "relay", "worker", "RQ worker", "robot", "robot", "robot", "server"))
        pids = self._processes(what)
        if not pids:
            return
        pid = self._chance.choice(sorted(pids))
        is_killed = self._chance.random() < 0.6
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if is_killed else signal.SIGSTOP)
            self.hits[f"{'kill' if is_killed else 'stop'} {what}"] += 1
        if not is_killed:
            self._stopped.append((now_s + self._chance.uniform(*_STOPPED_S), pid))

    def _processes(self, what: str) -> list[int]:
        if what == "server":
            return [self._cluster.server.pid] if self._cluster.server._process.poll() is None else []
        commands = {command.pid: command.args for command in self._running if command.poll() is None}
        if what in ("supervise", "relay", "worker"):
            return [pid for pid, words in commands.items() if what in words]  # type: ignore[operator]
        groups = [pid for pid, words in commands.items() if "worker" in words]  # type: ignore[operator]
        workers = [child for pid in groups for child in children_of(pid)]
        return workers if what == "RQ worker" else [child for pid in workers for child in children_of(pid)]

    def _continue(self, now_s: float) -> None:
        due = [stopped for stopped in self._stopped if stopped[0] <= now_s]
        self._stopped = [stopped for stopped in self._stopped if stopped[0] > now_s]
        for _, pid in due:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _start_again(self, now_s: float) -> None:
        ended = {place for place, command in enumerate(self._running) if command.poll() is not None}
        if self._cluster.server._process.poll() is not None:
            ended.add(-1)
        for place in ended:
            if self._again_s.setdefault(place, time.monotonic() + self._chance.uniform(*_AGAIN_S)) > now_s:
                continue
            del self._again_s[place]
            if place == -1:
                self._cluster.server.start_again()
            else:
                self._running[place] = self._cluster.start(*COMMANDS[place])


def children_of(pid: int) -> list[int]:
    """The children of a process; none when it has ended."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def storm(seed: int, seconds: float, folder: Path) -> tuple[str, str]:
    """How the run under a storm ended (a verdict, or what it is instead), and a line about it."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder)
    with EmbeddedServer() as server:
        cluster = Cluster(place, server)
        try:
            length_s = seconds + CALM_S
            options = ("--loss", ".2", "--for", f"{length_s}s", "--limit", f"{length_s + 40}s")
            cluster.deal("-n", str(ROBOTS), *options)
            raging = Storm(cluster, seed, seconds)
            cluster.await_go()
            raging.rage()
            cluster.start("worker", "-n", str(SPARE))  # killed RQ workers are not replaced
            code, out, err = cluster.do("verify", "--wait", "--json", timeout=length_s + 90)
            hits = ", ".join(f"{what} {count}" for what, count in sorted(raging.hits.items()))
            if not out:
                return f"exit {code}", f"{err[-300:]!r}  hits: {hits}"
            result = json.loads(out)
            doubts = "; ".join(f"{name}: {promise['why']}" for name, promise in not_held(result).items())
            supervised = result["promises"]["supervised"]["why"]
            return result["verdict"], f"run {result['run']}  {doubts or supervised}\n      hits: {hits}"
        finally:
            for process in place.started:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            cluster.client.close()


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each storm [default: 60]")
    given = parser.parse_args()
    return sweep(given, lambda seed, folder: storm(seed, given.seconds, folder / f"storm-{seed}"))


if __name__ == "__main__":
    sys.exit(main())
