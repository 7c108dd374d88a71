"""What an RQ worker does when it is asked for a deed from afar (broker/streams/run/injection.py): to its horse, or
to itself.

Only that; whoever asks has told of the deed, and why, before. What is no such deed is passed over.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Final

import redis
from redis.exceptions import RedisError

from broker.streams.run.injection import CommandStream

_SIGNALS: Final = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP, "resume": signal.SIGCONT, "restart": signal.SIGTERM}
_TO_ITSELF: Final = ("kill", "restart")  # one that stopped itself could not be told to go on


class RemoteCommands:
    """For as long as an RQ worker runs `robot`. `send_signal` sends a signal to its horse."""

    def __init__(
        self, client: redis.Redis, run: str, robot: str, send_signal: Callable[[signal.Signals], object]
    ) -> None:
        self._robot = robot
        self._send_signal = send_signal
        self._commands = CommandStream(client, run, robot)
        self.execute()  # what was asked of those before us is not for us

    def execute(self) -> None:
        """Do what was asked since the last call, if the server answers."""
        with contextlib.suppress(RedisError):
            for command in self._commands.read():
                self._do(*command.partition(" ")[::2])

    def _do(self, verb: str, victim: str) -> None:
        number = _SIGNALS.get(verb)
        if number is None:
            return
        if victim == self._robot:
            self._send_signal(number)
        elif victim == f"rq:{self._robot}" and verb in _TO_ITSELF:
            os.kill(os.getpid(), number)
