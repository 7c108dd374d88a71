"""What is handed down to every worker of a life: its environment, and the name of the life.

Whatever else a worker needs (channels, ports, state that outlives its crashes) it gets by name, so that its constructor
shows what it can reach.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from telemetry.clock import Clock
from telemetry.events import AnyEvent


class Env(msgspec.Struct, frozen=True):
    """What every worker needs from outside: no worker has a clock or randomness of its own."""

    clock: Clock
    chance: Random
    emit: Callable[[AnyEvent], None]


class LifeId(msgspec.Struct, frozen=True):
    """One life of a robot of a run. Incarnations count 1, 2, 3 …"""

    run: str
    robot: str
    incarnation: int

    def exchange_id(self, number: int) -> bytes:
        """The id of the life's exchange of that number: 5 bytes of the life, 3 of the number. Unique within a run."""
        robot = (int(self.robot[1:]) & 0xFFFFFF).to_bytes(3, "big")
        return robot + (self.incarnation & 0xFFFF).to_bytes(2, "big") + (number & 0xFFFFFF).to_bytes(3, "big")
