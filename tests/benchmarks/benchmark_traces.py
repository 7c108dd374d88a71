"""What it costs to derive traces: microseconds of CPU for an exchange, and seconds for the list of a whole record.

Run it by hand: `python tests/benchmarks/benchmark_traces.py RECORD`, with the folder of a recorded run.

Not collected by pytest: a busy machine must not fail a test. Every figure is the best of several rounds.

    read      the record's files as rows
    whole     traces of all exchanges, from the rows
    followed  the same rows as they arrive, with a poll every 100 ms of the run's time
    run       the run's own trace
    hash      a single hash of 12 bytes, to compare machines: 0.6 µs on a machine with nothing else to do
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from telemetry.record.history import History
from telemetry.record.reader import RecordReader
from telemetry.record.rows import DeathRow, FateRow, ms_of
from telemetry.tracing.exchanges import ExchangeFold, traces_of
from telemetry.tracing.run_trace import run_trace

POLL_US = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    record = RecordReader(given.record)
    history, traces = record.history(), list(traces_of(record.history()))
    exchanges, spans = len(traces), sum(len(trace.spans) for trace in traces)
    print(f"{exchanges} exchanges, {spans / exchanges:.1f} spans each, {len(history.events)} events")
    for name, work in (
        ("read", record.history),
        ("whole", lambda: list(traces_of(history))),
        ("followed", lambda: follow(history)),
        ("run", lambda: run_trace(history)),
    ):
        seconds = min(cpu_s(work) for _ in range(given.rounds))
        print(f"{name:<9} {seconds * 1e6 / exchanges:7.1f} µs an exchange  {seconds:.3f} s")
    hashes = min(cpu_s(hash_often) for _ in range(given.rounds))
    print(f"hash      {hashes * 10:7.2f} µs")


def hash_often() -> None:
    for _ in range(100_000):
        blake2b(b"123456789012", digest_size=8).digest()


def cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def follow(history: History) -> None:
    """Feed the fold in the order in which evidence arrived."""
    fold = ExchangeFold(history.settings.run, history.settings.seed)
    arrivals: list[tuple[int, Callable[[], None]]] = []
    arrivals += [(stamped.wall_us, lambda stamped=stamped: fold.event(stamped)) for stamped in history.events]
    for row in history.fates:
        if isinstance(row, FateRow):
            arrivals.append((ms_of(row.stored) * 1000, lambda row=row: fold.fate(row)))
    for death in history.fleet:
        if isinstance(death, DeathRow):
            arrivals.append((ms_of(death.id) * 1000, lambda death=death: fold.death(death)))
    due_us = 0
    for at_us, arrive in sorted(arrivals, key=lambda arrival: arrival[0]):
        if at_us >= due_us:
            fold.complete()
            due_us = at_us + POLL_US
        arrive()
    fold.finish()


if __name__ == "__main__":
    main()
