"""The errors that end a command with one line, and the exit codes that are no verdict. Light to import: no library."""

from __future__ import annotations

from typing import Final

USAGE: Final = 2
ENVIRONMENT: Final = 4
SOFTWARE: Final = 70  # an error that no code of ours expects: EX_SOFTWARE of sysexits.h
INTERRUPTED: Final = 130
"""Exit codes."""


class Unrepeatable(Exception):
    """A recorded run cannot be repeated from its record; the message is one line."""


class NoMetadata(Exception):
    """The run has no metadata on its server, or none that can be read here; the message is one line."""


class EnvironmentFailure(Exception):
    """This machine or its server cannot run the command; the message is one line."""


class UsageError(Exception):
    """A setting or an argument is not allowed; the message is one line that names it, and what is allowed."""
