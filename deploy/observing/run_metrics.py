"""The metrics of a run that is observed: folded by the thread that reads its events, and seen by any other.

How they are printed, served or pushed is not known here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from broker.streams.connection import DataClient
from deploy.attach.context import read_terms
from deploy.attach.discovery import RunLocation
from deploy.version import version
from telemetry.events import Stamped
from telemetry.metrics.fold import MetricsFold
from telemetry.metrics.values import MetricsSnapshot
from telemetry.otlp.readable import NAMESPACE
from telemetry.record.reader import RecordReader, Unreadable


class RunMetrics:
    """The metrics of `run`, whose seed is needed for the ids of its traces."""

    def __init__(self, run: str, seed: int) -> None:
        self.run = run
        self._fold = MetricsFold(seed)
        self._lock = threading.Lock()

    @property
    def resource(self) -> Mapping[str, str]:
        """What the metrics are about, in OpenTelemetry's words."""
        return {
            "service.namespace": NAMESPACE,
            "service.name": "lab",
            "service.instance.id": self.run,
            "service.version": version(),
            "gossip.run": self.run,
        }

    def take(self, events: Iterable[Stamped], missed: int) -> None:
        """Fold more events; `missed` never came, of all so far."""
        with self._lock:
            for stamped in events:
                self._fold.add(stamped)
            self._fold.missed = missed

    def snapshot(self) -> MetricsSnapshot:
        """The values now."""
        with self._lock:
            return self._fold.snapshot()


def live_seed(client: DataClient, where: RunLocation) -> int:
    """The seed of a live run: from its record, or else from its server. Raises RunGone, NoMetadata, Unavailable."""
    if where.folder is not None:
        try:
            return RecordReader(where.folder).settings().seed
        except Unreadable:
            pass  # the run was dealt on another host
    return read_terms(client, where.run).seed
