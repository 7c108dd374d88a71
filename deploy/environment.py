"""What this machine must be able to do, asked before anything is started."""

from __future__ import annotations

import sys


class Unable(Exception):
    """This machine or its server cannot do what was asked; the message is one line."""


def demand_linux() -> None:
    """Live runs need Linux: they rest on pidfds and on the parent-death signal. Raises Unable."""
    if not sys.platform.startswith("linux"):
        raise Unable(f"live runs are for Linux, this is {sys.platform}; simulate and verify work here")
