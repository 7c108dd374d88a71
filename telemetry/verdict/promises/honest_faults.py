"""Honest faults: every recorded fate equals the recomputed one, no rate is beyond chance, and no copy came too early.

Judged by plan and fates; the robots' events of copies that came can only convict. Which differences are allowed stands
in checks/fate_check.py, and how early is too early in checks/release_times.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.verdict.case import Case
from telemetry.verdict.checks.fate_check import (
    contradictory_fates,
    differing_fates,
    undecided_envelopes,
    unrecorded_counts,
)
from telemetry.verdict.checks.fault_rates import IMPOSSIBLE, fault_rates
from telemetry.verdict.checks.release_times import wrong_releases
from telemetry.verdict.evidence.traffic import place_of
from telemetry.verdict.finding import Finding, broken, held, unproven, worst


def honest_faults(case: Case) -> Finding:
    """Every recorded fate equals the recomputed one, no fault acted more or less often than chance can explain, and no
    copy came before its time."""

    def findings() -> Iterator[Finding]:
        yield from contradictory_fates(case)
        for row, ruling, key in differing_fates(case):
            yield broken(
                f"the fate of {row.sender}/{row.incarnation}'s envelope {row.sequence} to {row.receiver} was "
                f"{_shown(row.fate, row.deliveries, [fault.fault for fault in row.faults])}, its dice say "
                f"{_shown(ruling.fate, ruling.deliveries, [rule.text for rule in ruling.changed])}",
                place_of(key),
            )
        yield from _beyond_chance(case)
        yield from _taken_for_garbage(case)
        yield from wrong_releases(case)
        if not case.rulings:
            yield unproven("there are no envelopes to check")

    return worst(findings(), otherwise=held(f"{len(case.rulings)} fates equal the recomputed ones", len(case.rulings)))


def _shown(fate: str, deliveries: tuple[int, ...], faults: list[str]) -> str:
    return f"{fate} {list(deliveries)} by {', '.join(faults) or 'no fault'}"


def _beyond_chance(case: Case) -> Iterator[Finding]:
    """Faults whose rate differs from the planned one by more than chance explains."""
    for rate in fault_rates(case):
        if rate.p_value < IMPOSSIBLE:
            yield broken(
                f"{rate.rule.text!r} acted on {rate.hits} of {rate.draws} envelopes: the chance of that is "
                f"{rate.p_value:.0e}",
                f"fault {rate.rule.instance}",
            )


def _taken_for_garbage(case: Case) -> Iterator[Finding]:
    """Envelopes that a relay must have refused: more were sent without a fate than there are entries without one.

    Garbage that was put into an outbox by hand is refused rightly, and is no such envelope.
    """
    refused = {key[0]: key for key, row in case.traffic.entries.items() if row.fate == "refused"}
    if not refused:
        return
    left = unrecorded_counts(case)
    for shard, envelopes in undecided_envelopes(case).items():
        if shard in refused and shard in left and len(envelopes) > left[shard]:
            yield broken(f"{envelopes[0]} was sent, and refused as garbage", place_of(refused[shard]))
