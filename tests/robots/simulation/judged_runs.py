"""Runs that are simulated with faults, recorded and judged. No tests here."""

from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from broker.ports.robot import Death, Injection
from deploy.config.experiment import prepare
from deploy.lifecycle.recording import close_record, open_record, run_settings
from robots.journal import PartKept, decode_entry
from robots.simulation.simulate import Simulated, simulate
from telemetry.events import AnyEvent, Stamped
from telemetry.record.folder import Record
from telemetry.record.settings import ended_as
from telemetry.verdict.judge import Result

T = TypeVar("T", bound=AnyEvent)
SECRET = "Six words are dealt to three robots, and two of them hold a copy of each word."
LOSSY = ("loss .3", "duplicate .2", "delay 5ms..20ms")


class Ended(NamedTuple):
    """A run that was simulated and judged."""

    simulated: Simulated
    result: Result

    def happened(self, kind: type[T], source: str | None = None) -> list[T]:
        return [stamped.event for stamped in self.events(kind, source)]

    def events(self, kind: type[AnyEvent], source: str | None = None) -> list[Stamped]:
        return [
            stamped
            for stamped in self.simulated.events
            if isinstance(stamped.event, kind) and source in (None, stamped.source)
        ]

    @property
    def go_us(self) -> int:
        return self.simulated.born_us

    @property
    def deaths(self) -> list[Death]:
        return [row for row in self.simulated.evidence.fleet if isinstance(row, Death)]

    @property
    def injections(self) -> list[Injection]:
        return [row for row in self.simulated.evidence.fleet if isinstance(row, Injection)]

    def broken(self) -> dict[str, str]:
        """Whatever is not HELD, and why."""
        return {name: promise.why for name, promise in self.result.promises.items() if promise.state != "HELD"}


def run(runs: Path, *faults: str, robots: int = 6, seed: int = 1, for_: str = "0", **more: object) -> Ended:
    given = {"robots": robots, "secret": SECRET, "seed": seed, "preset": "calm", "for_": for_, "runs_dir": runs}
    experiment = prepare({**given, "fault": faults, **more})
    name = f"{len(list(runs.iterdir())):06x}"
    simulated = simulate(name, experiment.deal, experiment.terms, experiment.plan, experiment.bounds)
    record = Record.create(runs, name)
    settings = run_settings(name, "simulate", "test", experiment)
    open_record(record, settings, experiment.deal.record())
    record.write_rows("events", map(msgspec.to_builtins, simulated.events))
    settings = ended_as(settings, simulated.ended, simulated.born_us / 1e6, simulated.total_us / 1e6)
    return Ended(simulated, close_record(record, settings, simulated.evidence))


def parts_learnt(ended: Ended, robot: str) -> list[int]:
    """The indices in a robot's journal, in the order in which they came."""
    rows = ended.simulated.evidence.journals[robot]
    entries = [decode_entry(row.content) for row in rows or ()]
    return [entry.part.index for entry in entries if isinstance(entry, PartKept)]


def assert_nothing_was_lost_nor_learnt_twice(ended: Ended) -> None:
    for robot in ended.simulated.evidence.journals:
        learnt = parts_learnt(ended, robot)
        assert sorted(learnt) == list(range(17)), robot
