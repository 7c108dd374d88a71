"""The ports of a run in memory: a simulation deals, gives orders, collects the evidence and keeps its fleet log here.

The ports of one robot stand in broker/memory/server.py. Never thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from broker.control_entries import PlanChange, encode_control
from broker.errors import RunGone
from broker.memory.server import MemoryServer, announce
from broker.ports.robot import (
    Acknowledgement,
    Death,
    DeathKind,
    Failure,
    FleetRow,
    Injection,
    JournalRow,
    LeadershipGap,
    Order,
    OrderName,
)
from broker.ports.run import Evidence, Request, RunSpec, StreamCount
from broker.relay.core import format_id, parse_id


class MemoryRunControl:
    """`ports.RunControl` in memory."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._read = 0  # orders

    def deal(self, run_spec: RunSpec) -> None:
        server = self._server
        server.register = []
        for robot, contents in run_spec.journals.items():
            server.make_room_for(robot, contents)
        for shard in range(run_spec.shards):
            server.open_outbox(shard)
            server.put(shard, None, encode_control(run_spec.plan))
        self._give("dealt", run_spec.terms)

    def admit(self, robot: str, contents: Sequence[bytes]) -> None:
        if robot not in self._server.births:
            self._server.make_room_for(robot, contents)
            self._give("joined", robot.encode())

    def order(self, order: Literal["begin", "go", "crash", "stop"], content: bytes = b"") -> None:
        self._give(order, content)

    def orders(self) -> list[Order]:
        orders = self._server.orders[self._read :]
        if not self._server.orders:
            raise RunGone
        self._read += len(orders)
        return orders

    def change(self, change: PlanChange, is_retried: bool = True) -> None:  # noqa: ARG002  nothing waits in memory
        self._server.answer()
        for shard in self._server.outboxes:
            self._server.put(shard, None, encode_control(change))

    def requests(self) -> list[Request]:
        return []  # a simulation gets no requests from outside

    def _give(self, order: OrderName, content: bytes) -> None:
        server = self._server
        last = server.orders[-1].entry.partition("-") if server.orders else ("0", "-", "0")
        entry = server.next_id((int(last[0]), int(last[2])))
        server.orders.append(Order(format_id(entry), order, content))
        announce(server.order_arrived)


class MemoryEvidenceReader:
    """`ports.EvidenceReader` in memory."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def journal(self, robot: str) -> list[JournalRow]:
        journal = self._server.journals.get(robot)
        return [] if journal is None else list(journal.rows)

    def collect(self) -> Evidence:
        server = self._server
        return Evidence(
            controls={shard: list(box.controls) for shard, box in server.outboxes.items()},
            fates={shard: list(box.fates) for shard, box in server.outboxes.items()},
            journals={
                robot: list(server.journals[robot].rows) if robot in server.journals else None
                for robot in server.births
            },
            births={robot: list(rows) for robot, rows in server.births.items()},
            register_exists=server.register is not None,
            writes=list(server.register or ()),
            outboxes={
                shard: StreamCount(box.added, format_id(box.last), len(box.fresh) + len(box.pending))
                for shard, box in server.outboxes.items()
            },
            inboxes={
                robot: StreamCount(box.added, format_id(box.last), len(box.fresh) + len(box.pending))
                for robot, box in server.inboxes.items()
            },
            orders=list(server.orders),
            fleet=list(server.fleet),
            contradictions=dict(server.contradictions),
        )


class MemoryFleetLog:
    """`ports.FleetLog` in memory."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def injection(self, verb: str, target: str, victim: str, request_id: str = "") -> None:
        self._server.answer()
        self._server.fleet.append(Injection(self._next_entry(), verb, target, victim, request_id))

    def failure(self, verb: str, target: str, why: str, request_id: str = "") -> None:
        self._server.answer()
        self._server.fleet.append(Failure(self._next_entry(), verb, target, why, request_id))

    def death(self, victim: str, robot: str, incarnation: int, how: DeathKind, status: int) -> None:
        self._server.answer()
        self._server.fleet.append(Death(self._next_entry(), victim, robot, incarnation, how, status))

    def acknowledge(self, request_id: str, request: str, refusal: str) -> None:
        self._server.answer()
        answered = [row.request_id for row in self._server.fleet if isinstance(row, Acknowledgement)]
        if request_id not in answered:
            self._server.fleet.append(Acknowledgement(self._next_entry(), request_id, request, refusal))

    def leadership_gap(self, away_us: int) -> None:
        self._server.answer()
        self._server.fleet.append(LeadershipGap(self._next_entry(), away_us))

    def rows(self) -> list[FleetRow]:
        self._server.answer()
        return list(self._server.fleet)

    def _next_entry(self) -> str:
        rows = self._server.fleet
        return format_id(self._server.next_id(parse_id(rows[-1].entry) if rows else (0, 0)))
