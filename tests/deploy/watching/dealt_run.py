"""A run that was dealt on a server, with its metadata, and whose events a test emits. No tests here."""

from __future__ import annotations

import time
from itertools import count
from typing import Final

import redis

from broker.streams.address import Address
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import Keys
from broker.streams.run.control import StreamRunControl
from broker.streams.run.events import BlockingEventLog
from deploy.attach.context import metadata_of
from deploy.attach.discovery import RunLocation
from deploy.config.experiment import prepare
from deploy.lifecycle.recording import run_settings
from telemetry.events import AnyEvent, Stamped
from telemetry.stream.publisher import encode_events

ROBOTS: Final = 3
PARTS: Final = 11
_runs = count()


class DealtRun:
    """Its robots are r00, r01 and r02; `wall_us` is the time of each event, where none is given."""

    def __init__(self, server: EmbeddedServer, client: redis.Redis) -> None:
        self.run = f"d{next(_runs):05d}"
        self.client = client
        self.where = RunLocation(self.run, Address.one(server.url), None)
        self.control = StreamRunControl(client, self.run)
        self._experiment = prepare({"robots": ROBOTS, "seed": 3, "tick": "20ms"})
        self._numbers: dict[str, int] = {}

    def parts_of(self, robot: str) -> int:
        """How many parts a robot was dealt."""
        return sum(robot in part["holders"] for part in self._experiment.deal.record()["indices"])

    def deal(self) -> None:
        """Deal it."""
        experiment = self._experiment
        metadata = metadata_of(run_settings(self.run, "run", "0", experiment), experiment.deal.record())
        self.control.deal(experiment.deal.run_spec(self.run, experiment.terms, experiment.first_plan, metadata))

    def emit(self, event: AnyEvent, source: str = "lab", *, wall_us: int | None = None, skipped: int = 0) -> None:
        """An event of a source, after so many that never come."""
        number = self._numbers[source] = self._numbers.get(source, 0) + skipped + 1
        at_us = time.time_ns() // 1000 if wall_us is None else wall_us
        stamped = Stamped(self.run, source, 1, number, at_us, 0, event)
        assert BlockingEventLog(self.client, Keys(self.run).events).append(encode_events([stamped]))
