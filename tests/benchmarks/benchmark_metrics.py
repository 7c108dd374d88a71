"""What metrics cost: the fold for each event, and each rendering of a run of 50 robots.

Run it by hand: `python tests/benchmarks/benchmark_metrics.py`.

Not collected by pytest: a busy machine must not fail a test. Every figure is the least CPU time of several rounds over
the events of one simulated run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from deploy.config.experiment import prepare
from robots.simulation.simulate import simulate
from telemetry.events import Stamped
from telemetry.metrics.fold import MetricsFold
from telemetry.metrics.otlp import metrics_data
from telemetry.metrics.otlp_json import encode_metrics
from telemetry.metrics.prometheus import RunCollector

SEED = 7
RESOURCE = {"service.name": "lab"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", type=int, default=50, help="[default: 50]")
    parser.add_argument("--rounds", type=int, default=7, help="of which the fastest counts [default: 7]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    figures = measure(events_of(options.robots), options.rounds)
    if options.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:<24}{value:10.2f}" for name, value in figures.items()))


def events_of(robots: int) -> list[Stamped]:
    """The events of ten seconds with the preset lossy."""
    experiment = prepare({"robots": robots, "seed": SEED, "for_": "10s"})
    return simulate("bench", experiment.deal, experiment.terms, experiment.plan, experiment.bounds).events


def measure(events: list[Stamped], rounds: int) -> dict[str, float]:
    fold = MetricsFold(SEED)
    fold_s = least_s(lambda: folded(events), rounds)
    for stamped in events:
        fold.add(stamped)
    registry = CollectorRegistry()
    registry.register(RunCollector(fold.snapshot, RESOURCE))
    now_us = events[-1].wall_us
    text = generate_latest(registry)
    return {
        "events": len(events),
        "fold, µs an event": fold_s / len(events) * 1e6,
        "series": sum(not line.startswith(b"#") for line in text.splitlines()),
        "text, ms": least_s(lambda: generate_latest(registry), rounds) * 1e3,
        "text, kB": len(text) / 1e3,
        "OpenMetrics, ms": least_s(lambda: openmetrics(registry), rounds) * 1e3,
        "OpenMetrics, kB": len(openmetrics(registry)) / 1e3,
        "OTLP/JSON, ms": least_s(lambda: encode_metrics(metrics_data(fold.snapshot(), RESOURCE, now_us)), rounds) * 1e3,
        "OTLP/JSON, kB": len(encode_metrics(metrics_data(fold.snapshot(), RESOURCE, now_us))) / 1e3,
    }


def folded(events: list[Stamped]) -> None:
    fold = MetricsFold(SEED)
    for stamped in events:
        fold.add(stamped)


def least_s(do: Callable[[], object], rounds: int) -> float:
    """The CPU seconds of the fastest of several rounds."""
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        do()
        found.append(time.process_time() - begun)
    return min(found)


if __name__ == "__main__":
    main()
