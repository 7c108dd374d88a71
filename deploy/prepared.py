"""An experiment that can be run: settings, fault plan, bounds and deal, all checked. Nothing is started here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from broker.faults.schedule import Timed
from deploy.fault_plan import bounds_of, load_plan
from deploy.settings import EXPERIMENT, MOST_ROBOTS, LabSettings, load_deal, load_settings
from robots.run.deal import Deal, Terms
from robots.run.stop_rule import Bounds


class Prepared(msgspec.Struct, frozen=True):
    """Everything that is decided before a run begins."""

    settings: LabSettings
    plan: list[Timed]
    bounds: Bounds
    deal: Deal
    is_varied: bool
    """Whether anything was given that may differ from the run that is repeated, if one is."""

    @property
    def terms(self) -> Terms:
        """What every robot is told."""
        return self.settings.terms(self.plan)


def prepare(given: Mapping[str, Any], most_robots: int = MOST_ROBOTS) -> Prepared:
    """The experiment that was asked for, by the options that were `given`, the environment and the defaults.

    Raises Unfit, NoSuchRun, Unrepeatable.
    """
    settings = load_settings(given, most_robots)
    plan = load_plan(settings)
    is_varied = not EXPERIMENT.isdisjoint(given)
    return Prepared(settings, plan, bounds_of(settings, plan), load_deal(settings), is_varied)
