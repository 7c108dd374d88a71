"""Named plans: what a run's network does when nothing else is said. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from broker.faults import AnyFault, parse_fault

PRESETS: Final[Mapping[str, tuple[str, ...]]] = {
    "calm": (),
    "lossy": ("loss 0.2", "duplicate 0.1", "delay 5ms..20ms", "reorder 0.1"),
}


def faults_of(preset: str, replacing: Mapping[str, AnyFault | None]) -> list[AnyFault]:
    """The faults of a preset, each replaced by the one that bears its name in `replacing`, or removed by a None there.

    Raises KeyError when there is no such preset.
    """
    named = {fault.name: fault for fault in map(parse_fault, PRESETS[preset])}
    for name, fault in replacing.items():
        if fault is None:
            named.pop(name, None)
        else:
            named[name] = fault
    return list(named.values())
