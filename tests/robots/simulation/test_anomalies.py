"""The simulated leader reports anomalies as events, the same for every repetition of a seed."""

import pytest

from deploy.config.experiment import prepare
from robots.simulation.simulate import Simulated, digest_of, simulate
from telemetry.anomalies.detector import AnomalyDetector
from telemetry.anomalies.replay import anomalies_in
from telemetry.anomalies.thresholds import DEFAULTS, Thresholds
from telemetry.events import AnomalyBegan, AnomalyEnded, AnyEvent, FaultInjected, PlanChanged, Stamped


def run(thresholds: Thresholds = DEFAULTS, **given: object) -> Simulated:
    experiment = prepare({"robots": 6, "seed": 11, **given})
    deal, terms, plan, bounds = experiment.deal, experiment.terms, experiment.plan, experiment.bounds
    return simulate("abc123", deal, terms, plan, bounds, thresholds=thresholds)


def of_anomalies(simulated: Simulated) -> list[Stamped]:
    return [stamped for stamped in simulated.events if isinstance(stamped.event, AnomalyBegan | AnomalyEnded)]


def first_us(simulated: Simulated, kind: type[AnyEvent], text: str) -> int:
    """When the first event of that kind came that has `text` in it."""
    return next(
        stamped.monotonic_us
        for stamped in simulated.events
        if isinstance(stamped.event, kind) and text in str(stamped.event)
    )


@pytest.mark.parametrize(
    ("given", "rule", "about", "cause", "within_s"),
    [
        ({"chaos": ("kill r03 every 500ms",)}, "restart storm", "r03", (FaultInjected, "r03"), 1.5),
        ({"chaos": ("pause r03 @2s+1800ms",)}, "late beat", "r03", (FaultInjected, "r03"), 1.7),
        ({"chaos": ("pause relay @2s+3s",)}, "relay lag", "relay:0", (FaultInjected, "relay"), 2.0),
        ({"fault": ("partition r03 @1s+15s",)}, "deaf robot", "r03", (PlanChanged, "partition"), 13.0),
        ({"fault": ("duplicate .9 x5",)}, "duplicate storm", "network", (PlanChanged, "duplicate"), 1.0),
    ],
)
def test_a_sick_run_is_found_soon_and_is_over_when_its_cause_is(
    given: dict[str, object], rule: str, about: str, cause: tuple[type[AnyEvent], str], within_s: float
) -> None:
    # Given a run that is sick on purpose
    simulated = run(for_="10s", **given)
    # Then its leader reports the anomaly soon after the cause
    began = next(
        stamped
        for stamped in of_anomalies(simulated)
        if isinstance(stamped.event, AnomalyBegan) and stamped.event.rule == rule
    )
    assert (began.source, began.event.about) == ("lab", about)  # type: ignore[union-attr]
    assert 0 <= began.monotonic_us - first_us(simulated, *cause) <= within_s * 1e6
    # and nothing ends that did not begin
    ended = [stamped.event.rule for stamped in of_anomalies(simulated) if isinstance(stamped.event, AnomalyEnded)]
    assert set(ended) <= {s.event.rule for s in of_anomalies(simulated) if isinstance(s.event, AnomalyBegan)}


def test_a_pause_that_is_over_is_no_late_beat_any_more() -> None:
    simulated = run(for_="6s", chaos=("pause r03 @2s+1800ms",))

    began, ended = of_anomalies(simulated)
    assert isinstance(began.event, AnomalyBegan)
    assert isinstance(ended.event, AnomalyEnded)
    assert 0 < ended.event.lasted_us < 500_000
    # the leader looks for what is over twice a tick
    assert abs(ended.monotonic_us - began.monotonic_us - ended.event.lasted_us) <= 50_000


@pytest.mark.parametrize("preset", ["calm", "lossy", "storm"])
def test_a_healthy_run_has_no_anomaly(preset: str) -> None:
    assert of_anomalies(run(preset=preset, for_="10s")) == []


def test_a_seed_repeats_its_anomalies_and_other_thresholds_give_others() -> None:
    given = {"for_": "6s", "chaos": ("pause r03 @2s+1800ms",)}
    first, again = run(**given), run(**given)
    patient = run(Thresholds(beat_ticks=30), **given)

    assert digest_of(first) == digest_of(again)
    assert of_anomalies(patient) == []
    assert len(of_anomalies(first)) == 2


def test_the_events_of_a_run_show_the_anomalies_that_its_leader_reported() -> None:
    # Given a run with several anomalies
    chaos = ("pause r03 @2s+1800ms", "pause relay @6s+2s")
    simulated = run(for_="20s", chaos=chaos, fault=("partition r05 @8s+12s",))
    reported = [stamped for stamped in of_anomalies(simulated) if isinstance(stamped.event, AnomalyBegan)]
    assert len(reported) >= 4
    # When the rules are applied to its events
    found = anomalies_in(simulated.events, AnomalyDetector(100_000, lambda _robot: 0))
    # Then they find the same within a tick
    names = [
        (stamped.event.rule, stamped.event.about) for stamped in reported if isinstance(stamped.event, AnomalyBegan)
    ]
    assert [(anomaly.rule, anomaly.about) for anomaly in found] == names
    assert all(
        abs(anomaly.began_us - stamped.wall_us) <= 100_000 for anomaly, stamped in zip(found, reported, strict=True)
    )
