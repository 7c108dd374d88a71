"""The errors that the ports raise, one sentence each."""

from __future__ import annotations


class Fenced(Exception):
    """A later life of this robot exists: this one may have no effect any more."""


class JournalLost(Exception):
    """The journal's stream is gone. It is never made anew: what it held cannot be proven any more."""


class RegisterLost(Exception):
    """The register's stream is gone. The secret is never written a second time."""


class RunGone(Exception):
    """The run's orders are not there: it was never dealt on this server, it was removed, or the server lost it."""


class Unavailable(Exception):
    """The server did not answer in time, and it is not known whether the request took effect."""
