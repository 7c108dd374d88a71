"""A fault plan as robots and relays get it. No tests here."""

from __future__ import annotations

from broker.control_entries import PlanChange, Planned
from broker.faults.message_faults import MessageFault


def plan_change(*faults: MessageFault) -> PlanChange:
    """These faults in force, numbered from 0."""
    return PlanChange(tuple(Planned(number, fault.text()) for number, fault in enumerate(faults)))
