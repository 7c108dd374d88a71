"""What befell a simulated fleet, told by those who play its parent and its chaos. Never thread-safe."""

from __future__ import annotations

from broker.memory import MemoryServer
from broker.ports import Death, Deed, Ending, FleetRow
from broker.relay import format_id, parse_id


class MemoryFleetLog:
    """`ports.FleetLog` in memory."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def deed(self, text: str, victim: str) -> None:
        self._server.answer()
        self._server.fleet.append(Deed(self._next_entry(), text, victim))

    def death(self, victim: str, robot: str, incarnation: int, how: Ending, status: int) -> None:
        self._server.answer()
        self._server.fleet.append(Death(self._next_entry(), victim, robot, incarnation, how, status))

    def rows(self) -> list[FleetRow]:
        self._server.answer()
        return list(self._server.fleet)

    def _next_entry(self) -> str:
        rows = self._server.fleet
        return format_id(self._server.next_id(parse_id(rows[-1].entry) if rows else (0, 0)))
