"""The exchanges of a run as a list: which were slow, which failed, what the network did to them. Values, no text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from telemetry.tracing.spans import Span, Trace


class ExchangeRow(msgspec.Struct, frozen=True):
    """One exchange. `start_us` counts from the first exchange of the run, `took_us` until its initiator ended it;
    `whole_us` until the end of its last message, which may come later. `faults`: the names of those that changed
    something of it, with their texts. `merged`: the parts that each robot learnt by it, as one text."""

    exchange: str
    trace_id: str
    initiator: str
    peer: str
    outcome: str
    is_failed: bool
    start_us: int
    took_us: int
    whole_us: int
    attempts: int
    fates: tuple[str, ...]
    faults: tuple[str, ...]
    merged: dict[str, str]


class Wanted(msgspec.Struct, frozen=True):
    """Which exchanges: those that failed, that a robot took part in, that a fault changed something of (its name, or
    the beginning of its text), or that taught a part (to that robot, if one is named)."""

    failed: bool = False
    robot: str | None = None
    fault: str | None = None
    part: int | None = None

    def is_wanted(self, row: ExchangeRow) -> bool:
        """Whether an exchange is one of them."""
        if self.failed and not row.is_failed:
            return False
        if self.robot is not None and self.robot not in (row.initiator, row.peer):
            return False
        if self.fault is not None and not any(fault.startswith(self.fault) for fault in row.faults):
            return False
        return self.part is None or any(
            self.robot in (None, robot) and _holds(indices, self.part) for robot, indices in row.merged.items()
        )


def rows_of(traces: Iterable[Trace]) -> list[ExchangeRow]:
    """A row for each trace with a root."""
    whole = [trace for trace in traces if trace.spans[0].parent is None]
    first_us = min((trace.spans[0].start_us for trace in whole), default=0)
    return [_row(trace, first_us) for trace in whole]


def slowest(rows: Iterable[ExchangeRow], limit: int) -> list[ExchangeRow]:
    """The slowest ones by their whole length, at most so many, the slowest first."""
    return sorted(rows, key=lambda row: (-row.whole_us, -row.took_us, row.start_us, row.exchange))[:limit]


def exchange_of(trace: Trace) -> str:
    """The id of the exchange that a trace with a root is of."""
    return str(dict(trace.spans[0].attributes)["gossip.exchange"])


def _row(trace: Trace, first_us: int) -> ExchangeRow:
    root = trace.spans[0]
    about: dict[str, Any] = dict(root.attributes)
    relays = [dict(span.attributes) for span in trace.spans if span.name.startswith("relay ")]
    return ExchangeRow(
        exchange=about["gossip.exchange"],
        trace_id=f"{root.trace:032x}",
        initiator=root.service,
        peer=about["gossip.peer"],
        outcome=about["gossip.outcome"],
        is_failed=bool(root.error),
        start_us=root.start_us - first_us,
        took_us=root.end_us - root.start_us,
        whole_us=max(span.end_us for span in trace.spans) - root.start_us,
        attempts=about["gossip.attempts"],
        fates=tuple(dict.fromkeys(str(relay["gossip.fate"]) for relay in relays)),
        faults=tuple(dict.fromkeys(fault for relay in relays for fault in _faults(relay))),
        merged=_merged(trace.spans),
    )


def _faults(relay: dict[str, Any]) -> list[str]:
    return [fault for fault in str(relay.get("gossip.faults", "")).split(", ") if fault]


def _merged(spans: Iterable[Span]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for span in spans:
        if span.name == "merge" and not span.error:
            indices = str(dict(span.attributes)["gossip.parts.indices"])
            merged[span.service] = f"{merged[span.service]}, {indices}" if span.service in merged else indices
    return merged


def _holds(indices: str, part: int) -> bool:
    """Whether a text such as `0, 4..7` names the part."""
    for text in indices.split(", "):
        first, _, last = text.partition("..")
        if int(first) <= part <= int(last or first):
            return True
    return False
