"""The collector that the environment names for traces and metrics: whether it can be used, and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from deploy.doctor.check import Check
from telemetry.otlp.collector import Collector
from telemetry.otlp.endpoint import BadEndpoint, Signal, endpoint_of
from telemetry.otlp.usable import demand_usable

NAME: Final = "collector"
_SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics")


class CollectorFacts(msgspec.Struct, frozen=True):
    """Where the collector of a signal is, without its secrets; `trouble` says why it takes nothing."""

    signal: Signal
    shown: str
    trouble: str


def collector_facts(environment: Mapping[str, str]) -> list[CollectorFacts]:
    """The collectors that are named, each asked once. Raises BadEndpoint when one cannot be used here."""
    endpoints = [endpoint for signal in _SIGNALS if (endpoint := endpoint_of(environment, signal)) is not None]
    for endpoint in endpoints:
        demand_usable(endpoint)
    return [
        CollectorFacts(endpoint.signal, endpoint.shown, Collector(endpoint).probe().trouble) for endpoint in endpoints
    ]


def collector_check(facts: list[CollectorFacts]) -> Check:
    """What that means for a run, which never waits for a collector."""
    if not facts:
        return Check(NAME, "ok", "none is named by OTEL_EXPORTER_OTLP_ENDPOINT; traces are written into the record")
    text = "; ".join(f"{fact.signal} to {fact.shown}: {fact.trouble or 'it answers'}" for fact in facts)
    if any(fact.trouble for fact in facts):
        return Check(
            NAME, "warning", text, "start it, or unset OTEL_EXPORTER_OTLP_ENDPOINT; a run drops what it cannot send"
        )
    return Check(NAME, "ok", text)


def check_collector(environment: Mapping[str, str]) -> Check:
    """The check of the collectors. What cannot be used is refused before a run begins."""
    try:
        return collector_check(collector_facts(environment))
    except BadEndpoint as error:
        return Check(NAME, "fault", str(error), "mend the variable, or unset it")
