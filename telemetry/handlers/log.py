"""Writes notable events to the standard logger `robots`, one JSON object a line.

No event holds a word of a secret.
"""

from __future__ import annotations

import logging

import msgspec

from telemetry.events import Stamped
from telemetry.pipeline import Next

_encode = msgspec.json.Encoder().encode


def log_to_stderr() -> None:
    """Send this process's notable events to its standard error."""
    logger = logging.getLogger("robots")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False


class StructuredLog:
    """Notable events at INFO, all others at DEBUG."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("robots")

    def handle(self, stamped: Stamped, following: Next) -> None:
        level = logging.INFO if stamped.event.notable else logging.DEBUG
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", _encode(stamped).decode())
        following(stamped)
