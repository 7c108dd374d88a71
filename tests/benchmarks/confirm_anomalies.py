"""How often the anomaly rules alarm in healthy simulated runs, and how soon in sick ones.

    python -m tests.benchmarks.confirm_anomalies healthy 5000..5099
    python -m tests.benchmarks.confirm_anomalies sick 7000..7019
    python -m tests.benchmarks.confirm_anomalies healthy 5000..5099 --only "lossy 6"

Not collected by pytest: it takes an hour. Every run is a real simulated one, under the thresholds of the defaults; the
anomalies are those that its leader emitted.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import robots.simulation.simulate as simulation
from broker.control_entries import Control, PlanChange, Planned
from broker.relay.core import Id, Relay
from deploy.config.experiment import prepare
from robots.components import Components
from telemetry.events import (
    AnomalyBegan,
    AnyEvent,
    ChannelPressure,
    FaultInjected,
    InboxOverflowed,
    PlanChanged,
    RobotDisturbed,
    RunStarted,
    Stamped,
)

Given = Mapping[str, Any]
HEALTHY: Mapping[str, Given] = {
    "lossy 6": {},
    "lossy 6 for 20s": {"for_": "20s"},
    "calm 6 for 10s": {"preset": "calm", "for_": "10s"},
    "storm 6 for 20s": {"preset": "storm", "for_": "20s"},
    "lossy 25 for 10s": {"robots": 25, "for_": "10s"},
    "loss .4 25": {"robots": 25, "loss": ".4"},
    "loss .6 25": {"robots": 25, "loss": ".6"},
    "split 6": {"preset": "split"},
}
"""The settings, by name."""

RIGHT: Mapping[str, frozenset[str]] = {"split 6": frozenset(("stuck robot",))}
"""Alarms that are right although the run is as planned: in `split` each half is held from the other for 30 ticks."""


class Sick(NamedTuple):
    """A run that is sick on purpose: the rule that must find it, and the event from which the delay counts."""

    rule: str
    given: Given
    since: Callable[[AnyEvent], bool]
    about: str = ""
    components: Components | None = None


def _kind(*kinds: type[AnyEvent]) -> Callable[[AnyEvent], bool]:
    return lambda event: isinstance(event, kinds)


def _begins(fault: str) -> Callable[[AnyEvent], bool]:
    """The plan holds a fault that begins with these words."""
    return lambda event: isinstance(event, PlanChanged) and any(text.startswith(fault) for text in event.new)


def _loses(loss: str) -> Components:
    """Relays that lose with another probability than the plan says, and report the plan."""

    class LosesOtherwise(Relay):
        def _apply(self, at: Id, control: Control) -> bool:
            if isinstance(control, PlanChange):
                faults = tuple(
                    Planned(fault.instance, f"loss {loss}" if fault.text.startswith("loss") else fault.text)
                    for fault in control.faults
                )
                control = PlanChange(faults)
            return super()._apply(at, control)

    return Components(relay=LosesOtherwise)


_CELLS: Given = {
    "preset": "calm",
    "robots": 16,
    "for_": "12s",
    "fault": (
        "partition r00..r01|r02..r03|r04..r05|r06..r07|r08..r09|r10..r11|r12..r13|r14..r15 @0s+2s",
        "partition r00..r03|r04..r07|r08..r11|r12..r15 @2s+2s",
        "partition r00..r07|r08..r15 @4s+2s",
    ),
}

SICK: Mapping[str, Sick] = {
    "kill r03 every 500ms": Sick(
        "restart storm", {"for_": "10s", "chaos": ("kill r03 every 500ms",)}, _kind(FaultInjected), "r03"
    ),
    "crash r03/secret_merger every 300ms": Sick(
        "restart storm",
        {"for_": "10s", "chaos": ("crash r03/secret_merger every 300ms",)},
        _kind(FaultInjected),
        "r03/secret_merger",
    ),
    "kill robot every 500ms": Sick(
        "restart storm", {"for_": "15s", "chaos": ("kill robot every 500ms",)}, _kind(FaultInjected)
    ),
    "r03 cut off from the start": Sick(
        "stuck robot", {"for_": "6s", "limit": "8s", "fault": ("partition r03",)}, _kind(RunStarted), "r03"
    ),
    "the server restarts": Sick(
        "channel pressure", {"for_": "6s", "chaos": ("restart redis @1s",)}, _kind(ChannelPressure, InboxOverflowed)
    ),
    "loss .2 for .1, 6 robots": Sick(
        "fault rate off", {"for_": "20s", "loss": ".1"}, _kind(RunStarted), components=_loses("0.2")
    ),
    "loss .2 for .1, 25 robots": Sick(
        "fault rate off", {"for_": "10s", "robots": 25, "loss": ".1"}, _kind(RunStarted), components=_loses("0.2")
    ),
    "loss .2 for .5, 6 robots": Sick(
        "fault rate off", {"for_": "20s", "loss": ".5"}, _kind(RunStarted), components=_loses("0.2")
    ),
    "cells of 2, 4, 8 of 16 robots": Sick("flapping quiet", _CELLS, _kind(RobotDisturbed)),
    "the relay is paused": Sick(
        "relay lag", {"for_": "8s", "chaos": ("pause relay @100ms+3s",)}, _kind(FaultInjected), "relay:0"
    ),
    "the relay is paused, all passive": Sick(
        "relay lag", {"for_": "12s", "chaos": ("pause relay @5s+3s",)}, _kind(FaultInjected), "relay:0"
    ),
    "pause r03 for 1.8s": Sick(
        "late beat", {"for_": "6s", "chaos": ("pause r03 @2s+1800ms",)}, _kind(FaultInjected), "r03"
    ),
    "r03 cut off, active: unheard": Sick(
        "unheard robot", {"for_": "6s", "limit": "8s", "fault": ("partition r03",)}, _kind(RunStarted), "r03"
    ),
    "r03 cut off, active: deaf": Sick(
        "deaf robot", {"for_": "14s", "limit": "15s", "fault": ("partition r03",)}, _kind(RunStarted), "r03"
    ),
    "r03 cut off, passive: unheard": Sick(
        "unheard robot", {"for_": "20s", "fault": ("partition r03 @5s+15s",)}, _begins("partition"), "r03"
    ),
    "r03 cut off, passive: deaf": Sick(
        "deaf robot", {"for_": "20s", "fault": ("partition r03 @5s+15s",)}, _begins("partition"), "r03"
    ),
    "duplicate .9 x5": Sick("duplicate storm", {"for_": "3s", "duplicate": ".9 x5"}, _kind(RunStarted)),
    "duplicate .5 x3": Sick("duplicate storm", {"for_": "10s", "duplicate": ".5 x3"}, _kind(RunStarted)),
}
"""The sick runs, by name."""


def simulated(given: Given, seed: int, components: Components | None = None) -> list[Stamped]:
    """The events of one run."""
    experiment = prepare({"robots": 6, "preset": "lossy", "seed": seed, **given})
    standard = simulation.components_of
    if components is not None:
        simulation.components_of = lambda _exhibit: components
    try:
        return simulation.simulate(
            "abc123", experiment.deal, experiment.terms, experiment.plan, experiment.bounds
        ).events
    finally:
        simulation.components_of = standard


def healthy(name: str, seeds: range) -> int:
    """Prints all alarms of a setting, and returns the number of runs with a wrong one."""
    wrong = right = 0
    rules: Counter[str] = Counter()
    for seed in seeds:
        began = [stamped for stamped in simulated(HEALTHY[name], seed) if isinstance(stamped.event, AnomalyBegan)]
        of_run = {stamped.event.rule for stamped in began if isinstance(stamped.event, AnomalyBegan)}
        rules.update(of_run)
        is_wrong = bool(of_run - RIGHT.get(name, frozenset()))
        wrong += is_wrong
        right += bool(of_run) and not is_wrong
        for stamped in began if is_wrong else []:
            print(f"    {name}, seed {seed}, {stamped.monotonic_us / 1e6:.2f} s: {stamped.event}", flush=True)
    alarms = ", ".join(f"{rule} {number}" for rule, number in sorted(rules.items())) or "none"
    print(f"{name:<20} runs {len(seeds)}  wrong {wrong}  right {right}  alarms: {alarms}", flush=True)
    return wrong


def sick(name: str, seeds: range) -> int:
    """Prints how soon the rule found it, and returns in how many runs it did not."""
    scenario, delays_s, others = SICK[name], list[float](), Counter[str]()
    for seed in seeds:
        events = simulated(scenario.given, seed, scenario.components)
        since_us = next((stamped.monotonic_us for stamped in events if scenario.since(stamped.event)), None)
        found = list(_found(scenario, events))
        others.update({rule for rule in _rules(events) if rule != scenario.rule})
        if since_us is not None and found:
            delays_s.append((found[0] - since_us) / 1e6)
    missed = len(seeds) - len(delays_s)
    delays = f"median {statistics.median(delays_s):.2f} s (max {max(delays_s):.2f})" if delays_s else "-"
    beside = ", ".join(f"{rule} {number}" for rule, number in sorted(others.items())) or "none"
    line = f"{scenario.rule:<17} {name:<36} found {len(delays_s)}/{len(seeds)}  {delays}  beside it: {beside}"
    print(line, flush=True)
    return missed


def _rules(events: list[Stamped]) -> set[str]:
    return {stamped.event.rule for stamped in events if isinstance(stamped.event, AnomalyBegan)}


def _found(scenario: Sick, events: list[Stamped]) -> Iterator[int]:
    for stamped in events:
        event = stamped.event
        if isinstance(event, AnomalyBegan) and event.rule == scenario.rule and scenario.about in ("", event.about):
            yield stamped.monotonic_us


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("healthy", "sick"))
    parser.add_argument("seeds", help="first..last")
    parser.add_argument("--only", action="append", help="a setting's name; may be repeated")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    run, names = (healthy, HEALTHY) if options.what == "healthy" else (sick, SICK)
    print(f"sum {sum(run(name, seeds) for name in options.only or names)}")


if __name__ == "__main__":
    main()
