"""What watching costs: `robots watch` on a terminal, beside a run whose events come at a fixed rate.

Run it by hand: `python tests/benchmarks/benchmark_watch.py --robots 100 --rate 5000 --columns 200 --lines 60`.

Not collected by pytest: a busy machine must not fail a test. The events are those of a simulated run, written to a
server at the rate that is wanted, with the time of now. `first paint` is the median of several starts, from the start
of the process to the first drawn page; `key to screen` of several keys, each of which opens another page.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.events import BlockingEventLog
from deploy.attach.context import metadata_of
from deploy.config.experiment import Experiment, prepare
from deploy.lifecycle.recording import run_settings
from robots.simulation.simulate import simulate
from telemetry.events import RunStopped, Stamped
from telemetry.stream.publisher import encode_events
from tests.support.pseudo_terminal import PseudoTerminal

SEED = 7
RUN = "bench0"
BATCH_S = 0.05
PAGES = {"2": " robots", "1": "mean"}  # a key, and what its page alone shows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", type=int, default=16, help="[default: 16]")
    parser.add_argument("--rate", type=int, default=1000, help="events a second [default: 1000]")
    parser.add_argument("--hz", type=int, default=4, help="paints a second [default: 4]")
    parser.add_argument("--columns", type=int, default=120, help="[default: 120]")
    parser.add_argument("--lines", type=int, default=40, help="[default: 40]")
    parser.add_argument("--seconds", type=float, default=20.0, help="of measuring [default: 20]")
    parser.add_argument("--starts", type=int, default=10, help="[default: 10]")
    parser.add_argument("--keys", default="", help="to type before it is measured: `3` for the third page")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    experiment = prepare({"robots": options.robots, "seed": SEED, "for_": "20s"})
    events = simulate(RUN, experiment.deal, experiment.terms, experiment.plan, experiment.bounds).events
    events = [stamped for stamped in events if not isinstance(stamped.event, RunStopped)]  # it goes on
    with EmbeddedServer() as server, TemporaryDirectory() as folder:
        bench = Bench(server.url, Path(folder), options)
        with writing(server.url, experiment, events, options.rate):
            figures = {"robots": options.robots, "events a second": options.rate, **bench.measure()}
    if options.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:<24}{value:10.2f}" for name, value in figures.items()))


@contextmanager
def writing(url: str, experiment: Experiment, events: list[Stamped], rate: int) -> Iterator[None]:
    """Deal the run, and write its events from now on."""
    with connect(url) as client:
        metadata = metadata_of(run_settings(RUN, "run", "0", experiment), experiment.deal.record())
        control = StreamRunControl(client, RUN)
        control.deal(experiment.deal.run_spec(RUN, experiment.terms, experiment.first_plan, metadata))
        control.order("go")
        log, is_over = BlockingEventLog(client, Keys(RUN).events), threading.Event()
        thread = threading.Thread(target=_write, args=(log, events, rate, is_over))
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def _write(log: BlockingEventLog, events: list[Stamped], rate: int, is_over: threading.Event) -> None:
    """The events in their order, over and over; each source numbers its own anew."""
    numbers: dict[tuple[str, int], int] = {}
    began_s, written, left = time.monotonic(), 0, cycle(events)
    while not is_over.wait(BATCH_S):
        due = round((time.monotonic() - began_s) * rate) - written
        batch = []
        for stamped in (next(left) for _ in range(due)):
            life = (stamped.source, stamped.incarnation)
            numbers[life] = numbers.get(life, 0) + 1
            batch.append(replace(stamped, number=numbers[life], wall_us=time.time_ns() // 1000))
        if batch:
            log.append(encode_events(batch))
        written += due


class Bench:
    """`robots watch` on terminals of one size."""

    def __init__(self, url: str, folder: Path, options: argparse.Namespace) -> None:
        self._url, self._folder, self._options = url, folder, options

    def measure(self) -> dict[str, float]:
        starts = [self._first_paint_s() for _ in range(self._options.starts)]
        with self._watch() as terminal:
            terminal.await_text(f"seed {SEED}")
            keys_s = [_key_s(terminal, key, shown) for _ in range(5) for key, shown in PAGES.items()]
            terminal.type(self._options.keys)
            time.sleep(5)  # until it has folded what was written before
            cpu_s, wall_s, written = _cpu_s(terminal.process.pid), time.monotonic(), len(terminal.written)
            time.sleep(self._options.seconds)
            wall_s = time.monotonic() - wall_s
            used = (_cpu_s(terminal.process.pid) - cpu_s) / wall_s
            output = (len(terminal.written) - written) / wall_s
        return {
            "CPU, % of a core": used * 100,
            "output, KiB/s": output / 1024,
            "first paint, ms": median(starts) * 1000,
            "key to screen, ms": median(keys_s) * 1000,
            "slowest key, ms": max(keys_s) * 1000,
        }

    def _first_paint_s(self) -> float:
        began_s = time.monotonic()
        with self._watch() as terminal:
            terminal.await_text(f"seed {SEED}")
            return time.monotonic() - began_s

    @contextmanager
    def _watch(self) -> Iterator[PseudoTerminal]:
        size = (self._options.columns, self._options.lines)
        command = [
            sys.executable,
            "-m",
            "deploy",
            "watch",
            RUN,
            "--redis-url",
            self._url,
            "--hz",
            str(self._options.hz),
        ]
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        terminal = PseudoTerminal(command, self._folder, environment, *size)
        try:
            yield terminal
            terminal.type("q")
            terminal.await_end()
        finally:
            terminal.process.kill()
            terminal.process.wait()
            terminal.close()


def _key_s(terminal: PseudoTerminal, key: str, shown: str) -> float:
    at, began_s = len(terminal.text), time.monotonic()
    terminal.type(key)
    while shown not in terminal.text[at:]:
        time.sleep(0.001)
        assert time.monotonic() - began_s < 10, f"{key} does not show {shown!r}"
    return time.monotonic() - began_s


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
