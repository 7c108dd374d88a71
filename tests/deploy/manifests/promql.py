"""What a query asks for: the metrics and labels in it, and whether the lab has them. No tests here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from telemetry.metrics.prometheus import prometheus_name
from telemetry.metrics.table import METRICS, Instrument, Metric

TARGET = frozenset({"job", "instance"})
"""The labels that Prometheus itself adds."""

_INFO = {"service_namespace", "service_name", "service_instance_id", "service_version", "gossip_run"}
_METRIC = r"(?<![\w.:])((?:gossip|messaging)_\w+|target_info|ALERTS)"


def _series(metric: Metric) -> dict[str, frozenset[str]]:
    name = prometheus_name(metric)
    labels = frozenset(
        attribute.replace(".", "_") for attribute in (*metric.attributes, *(name for name, _ in metric.constant))
    )
    if metric.instrument is not Instrument.HISTOGRAM:
        return {name: labels | TARGET}
    return {
        f"{name}_bucket": labels | TARGET | {"le"},
        f"{name}_sum": labels | TARGET,
        f"{name}_count": labels | TARGET,
    }


SERIES = {name: labels for metric in METRICS for name, labels in _series(metric).items()} | {
    "target_info": frozenset(_INFO) | TARGET,
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
}
"""Every series that Prometheus has of the lab, with its labels."""


def faults_of(query: str) -> list[str]:
    """What a query asks for that is not there: a metric, a label of that metric, or a label to sum up by."""
    faults = []
    text = re.sub(r'"[^"]*"', '""', query)
    grouped = re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right) *\(([^)]*)\)", text)
    asked = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right) *\([^)]*\)", " ", text)
    used: list[str] = []
    for name, selector in re.findall(_METRIC + r"(?:\{([^}]*)\})?", re.sub(r"label_values\((.*), \w+\)", r"\1", asked)):
        if name not in SERIES:
            faults.append(f"{name} is no metric of the lab")
            continue
        used.append(name)
        labels = re.findall(r"(\w+) *(?:=~|!~|!=|=)", selector)
        faults += [f"{name} has no label {label}" for label in labels if label not in SERIES[name]]
    for label in _words(grouped):
        if not any(label in SERIES[name] for name in used):
            faults.append(f"none of {', '.join(used) or 'no metric'} has a label {label}")
    for name, label in re.findall(r"label_values\((\w+)[^,]*, (\w+)\)", query):
        if label not in SERIES.get(name, ()):
            faults.append(f"{name} has no label {label}")
    return faults


def metrics_in(query: str) -> set[str]:
    """The series that a query reads."""
    text = re.sub(r'"[^"]*"', '""', query)
    return {name for name in re.findall(_METRIC, text) if name in SERIES}


def _words(lists: Iterable[str]) -> list[str]:
    return [word.strip() for text in lists for word in text.split(",") if word.strip()]
