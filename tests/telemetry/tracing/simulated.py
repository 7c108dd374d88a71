"""Histories of whole simulated runs, with and without chaos. No tests here."""

from __future__ import annotations

from functools import cache

import msgspec

from deploy.config.experiment import prepare
from deploy.lifecycle.recording import run_settings
from deploy.observing.live_history import history_of
from robots.simulation.simulate import simulate
from telemetry.record.history import History
from telemetry.record.rows import DealtPart
from telemetry.record.settings import ended_as

CHAOS = (
    "kill robot every 500ms",
    "kill relay @1500ms",
    "crash r03/secret_merger @1s",
    "crash r02/gossip_initiator @700ms",
    "contradict r02 @1500ms",
    "amnesia r01 @1200ms",
    "restart r04 @900ms",
    "pause r05 @2s+300ms",
)
SECRET = " ".join(f"word{number}" for number in range(40))  # so that every robot is dealt some


@cache
def history(preset: str, seed: int, *, robots: int = 6, has_chaos: bool = False, relays: int = 1) -> History:
    """All that is known of a run after its end."""
    given = {"preset": preset, "seed": seed, "robots": robots, "for_": "3s", "relays": relays, "secret": SECRET}
    chaos = CHAOS if has_chaos else ()
    experiment = prepare({**{name: str(value) for name, value in given.items()}, "chaos": chaos})
    simulated = simulate("5eed01", experiment.deal, experiment.terms, experiment.plan, experiment.bounds)
    begun = run_settings("5eed01", "simulate", "test", experiment)
    settings = ended_as(begun, simulated.ended, simulated.born_us / 1e6, simulated.total_us / 1e6)
    dealt = msgspec.convert(experiment.deal.record()["indices"], tuple[DealtPart, ...])
    return history_of(settings, dealt, simulated.evidence, simulated.events)
