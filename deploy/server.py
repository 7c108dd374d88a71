"""Which server a run uses: a private one of its own, or somebody else's, on which it is a guest.

Only how the server comes and goes stands here; what is done on it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from broker.embedded import EmbeddedServer, NoEmbeddedServer
from broker.streams.connection import check_server, connect
from deploy.environment import Unable
from deploy.janitor import Janitor


class Server(msgspec.Struct, frozen=True):
    """A server that answers. `pid` is None when it is not our own: then it must be left as it was found."""

    url: str
    pid: int | None

    @property
    def is_our_own(self) -> bool:
        """Whether it serves this run alone, and ends with it."""
        return self.pid is not None


@contextmanager
def server_for(url: str | None, janitor: Janitor) -> Iterator[Server]:
    """The server at `url`, or a private one that lives within. Raises ServerUnfit, Unable."""
    if url is not None:
        with connect(url) as client:
            check_server(client)
        yield Server(url, None)
        return
    try:
        server = EmbeddedServer()
    except NoEmbeddedServer as error:
        raise Unable(str(error)) from None
    try:
        janitor.watch(server.pid)
        janitor.folder(server.folder)
        yield Server(server.url, server.pid)
    finally:
        server.stop()
        janitor.forget(server.pid)
