"""Every setting of every command as it is in force here, and where it comes from. Nothing is started or written."""

from __future__ import annotations

from typing import Final, NamedTuple

from pydantic.fields import FieldInfo

from deploy.config.flags import Given
from deploy.config.settings import (
    SET_NOWHERE,
    LabSettings,
    load_settings,
    models_of_settings,
    origin_of,
    recorded_for,
    settings_of,
)
from robots.exhibits.catalogue import EXHIBITS

UNSET: Final = "default"  # where a setting comes from that is set nowhere


class Effective(NamedTuple):
    """A setting in force, by its field, and where it comes from: its flag, its variable, robots.toml, the record, the
    exhibit, or UNSET."""

    name: str
    declared: FieldInfo
    value: object
    origin: str


def effective_settings(given: Given) -> list[Effective]:
    """Every setting of every command, as it is in force: a run's own first. Raises UsageError, NoSuchRun,
    Unrepeatable."""
    lab = load_settings(given)
    recorded = {} if lab.again is None else recorded_for(lab.again, lab.runs_dir, given)
    shown = EXHIBITS[lab.exhibit].settings.keys() - given.keys() if lab.exhibit and lab.again is None else set()
    rows = []
    for name, model in models_of_settings().items():
        settings = lab if model is LabSettings else settings_of(model, given, {})
        origin, rank = origin_of(name, given, {} if name == "again" else recorded)
        if name in shown:
            origin, rank = f"--exhibit {lab.exhibit}", 0
        is_set = rank < SET_NOWHERE and name in settings.model_fields_set
        rows.append(Effective(name, model.model_fields[name], getattr(settings, name), origin if is_set else UNSET))
    return rows
