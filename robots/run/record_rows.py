"""Translates the evidence that a server holds at the end of a run into the rows of the record. It judges nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, Final

from broker.control_entries import Birth, Control, PlanChange
from broker.ports.robot import Acknowledgement, Death, Failure, FleetRow, Injection, LeadershipGap
from broker.ports.run import Evidence, StoredFates
from broker.relay.core import Fate, Id, parse_id
from robots.journal import Born, Completed, Entry, Header, PartKept, Quieted, readable

Row = dict[str, Any]
_FLEET_ROWS: Final[dict[type[FleetRow], str]] = {
    Injection: "injection",
    Failure: "failure",
    Death: "death",
    Acknowledgement: "acknowledgement",
    LeadershipGap: "leadership_gap",
}


def plan_rows(evidence: Evidence) -> Iterator[Row]:
    """The rows of `plan.jsonl`."""
    for shard, controls in sorted(evidence.controls.items()):
        for entry, control in controls:
            yield {"shard": shard, "id": entry, **_control(control)}


def fate_rows(evidence: Evidence) -> Iterator[Row]:
    """The rows of `fates.jsonl`."""
    for shard, entries in sorted(evidence.fates.items()):
        faults = FaultTexts(evidence.controls.get(shard, ()))
        for entry in entries:
            yield from stored_fate_rows(shard, entry, faults)


def stored_fate_rows(shard: int, entry: StoredFates, faults: FaultTexts) -> Iterator[Row]:
    """The rows of one entry of a shard's fates. `faults` know the shard's plan up to there."""
    if entry.redo:
        yield {"row": "redo", "shard": shard, "stored": entry.stored, "redo": entry.redo}
    for fate in entry.fates:
        yield {"row": "fate", "shard": shard, "stored": entry.stored, **_fate(fate, faults)}


class FaultTexts:
    """The texts of a shard's faults, by the numbers of their dice. A number may have several texts, one after the
    other: the plan in force for an envelope decides, and a fault that held it back was in that plan, too."""

    def __init__(self, controls: Iterable[tuple[str, Control]] = ()) -> None:
        self._places: list[Id] = []
        self._texts: list[dict[int, str]] = []
        for entry, control in controls:
            self.add(entry, control)

    def add(self, entry: str, control: Control) -> None:
        """Take in a control entry. They come in the order of their outbox."""
        if isinstance(control, PlanChange):
            self._places.append(parse_id(entry))
            self._texts.append({planned.instance: planned.text for planned in control.faults})

    def text(self, entry: str, instance: int) -> str:
        """The text of a fault of the plan in force for an outbox entry; empty when that plan has no such fault."""
        place = bisect_left(self._places, parse_id(entry))
        return self._texts[place - 1].get(instance, "") if place else ""


def journal_rows(evidence: Evidence) -> Iterator[Row]:
    """The rows of `journals.jsonl`."""
    for robot, rows in sorted(evidence.journals.items()):
        if rows is None:
            yield {"robot": robot, "entry": "lost"}
            continue
        for row in rows:
            for entry in readable([row.content]):
                yield {"robot": robot, "id": f"{row.incarnation}-{row.number}", **_entry(entry)}


def fleet_rows(evidence: Evidence) -> Iterator[Row]:
    """The rows of `fleet.jsonl`."""
    for row in evidence.fleet:
        yield {
            "id": row.entry,
            "row": _FLEET_ROWS[type(row)],
            **{name: getattr(row, name) for name in row.__struct_fields__[1:]},
        }


def register(evidence: Evidence) -> Row:
    """The content of `register.json`."""
    return {
        "exists": evidence.register_exists,
        "writes": [
            {
                "id": write.entry,
                "robot": write.robot,
                "incarnation": write.incarnation,
                "nonce": write.nonce,
                "text": write.secret.decode("utf-8", "replace"),
            }
            for write in evidence.writes
        ],
        "births": {
            robot: [{"id": row.entry, "entry": row.what, "nonce": row.nonce, "at_us": row.at_us} for row in rows or ()]
            for robot, rows in sorted(evidence.births.items())
        },
    }


def streams(evidence: Evidence) -> Row:
    """The content of `streams.json`."""
    return {
        "outboxes": {
            str(shard): {"added": count.added, "last": count.last} for shard, count in sorted(evidence.outboxes.items())
        },
        "inboxes": {
            robot: {"added": count.added, "left": count.length} for robot, count in sorted(evidence.inboxes.items())
        },
        "contradictions": dict(sorted(evidence.contradictions.items())),
        "orders": [
            {
                "id": order.entry,
                "order": order.order,
                "reason": order.text if order.order in ("crash", "stop", "joined") else None,
            }
            for order in evidence.orders
        ],
    }


def _control(control: Control) -> Row:
    if isinstance(control, Birth):
        return {"control": "born", "robot": control.robot, "incarnation": control.incarnation}
    faults = [{"instance": planned.instance, "fault": planned.text} for planned in control.faults]
    request = {"request_id": control.request_id, "request": control.request, "refusal": control.refusal}
    return {"control": "plan", "faults": faults, **request}


def _fate(fate: Fate, faults: FaultTexts) -> Row:
    return {
        "id": fate.entry,
        "sender": fate.sender,
        "incarnation": fate.incarnation,
        "receiver": fate.receiver,
        "sequence": fate.sequence,
        "exchange": None if fate.exchange is None else fate.exchange.hex(),
        "kind": fate.kind,
        "fate": fate.state,
        "faults": [{"instance": number, "fault": faults.text(fate.entry, number)} for number in fate.faults],
        "deliveries": fate.deliveries,
        "body": fate.body,
        "wire": fate.wire,
    }


def _entry(entry: Entry) -> Row:
    match entry:
        case Header(origin):
            return {"entry": "header", "origin": origin}
        case PartKept(part, cause):
            brought_by = None if cause is None else [cause.sender, cause.incarnation, cause.sequence, cause.copy]
            return {"entry": "part", "index": part.index, "word": part.word, "last": part.last, "cause": brought_by}
        case Born(nonce):
            return {"entry": "born", "nonce": nonce}
        case Completed(at_us):
            return {"entry": "complete", "at_us": at_us}
        case Quieted(ticks, exchange, at_us):
            return {"entry": "quiet", "ticks": ticks, "exchange": exchange, "at_us": at_us}
