"""The commands that a supervisor on another host sends to an RQ worker (broker/streams/run/injection.py): signals for
its horse, or for itself; and `yield r05`: hand the robot back, and run one that waits before it.

An injection stands in the fleet log before its command is sent. What is no command is passed over.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError

from broker.streams.connection import DataClient
from broker.streams.run.injection import CommandStream

_SIGNALS: Final = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP, "resume": signal.SIGCONT, "restart": signal.SIGTERM}
_TO_ITSELF: Final = ("kill", "restart")  # an RQ worker that stopped itself could read no `resume`


class RemoteCommands:
    """For as long as an RQ worker runs `robot`. `send_signal` sends a signal to its horse."""

    def __init__(
        self, client: DataClient, run: str, robot: str, send_signal: Callable[[signal.Signals], object]
    ) -> None:
        self.is_to_yield = False
        """Whether the robot is to wait behind all others that do."""
        self._robot = robot
        self._send_signal = send_signal
        self._commands = CommandStream(client, run, robot)
        self.execute()  # commands to earlier RQ workers of the robot are skipped

    def execute(self) -> None:
        """Execute the commands that came since the last call, if the server answers."""
        with contextlib.suppress(RedisError):
            for command in self._commands.read():
                self._send(*command.partition(" ")[::2])

    def _send(self, verb: str, victim: str) -> None:
        if (verb, victim) == ("yield", self._robot):
            self.is_to_yield, verb = True, "restart"
        number = _SIGNALS.get(verb)
        if number is None:
            return
        if victim == self._robot:
            self._send_signal(number)
        elif victim == f"rq:{self._robot}" and verb in _TO_ITSELF:
            os.kill(os.getpid(), number)
