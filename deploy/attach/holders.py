"""The tokens by which processes hold the leases of a run: each is unique, and names a host for people. What a lease is
good for is decided in broker/streams.
"""

from __future__ import annotations

import re
import secrets
import socket
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(r"(.+)\.([0-9]{1,10})\.[0-9a-f]{16}", re.DOTALL)


class Holder(NamedTuple):
    """What a token says of a lease's holder. Anybody may write one: `host` is empty, and `pid` None, where it says
    nothing."""

    host: str
    pid: int | None


def new_token(pid: int | None) -> str:
    """A token for a process of this host. `pid` is None when several processes hold a lease by it, one after the
    other."""
    return f"{socket.gethostname()}.{pid or 0}.{secrets.token_hex(8)}"


def nonce_in(token: str) -> str:
    """The part of our own token that makes it unique."""
    return token.rpartition(".")[2]


def holder_in(token: str) -> Holder:
    """The holder that a token names."""
    found = _TOKEN.fullmatch(token)
    return Holder(found[1], int(found[2]) or None) if found else Holder("", None)
