"""The server that a run uses: a private one of its own, or a shared one at a URL. Only its start and end stand here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from broker.streams.address import Address
from broker.streams.connection import Server
from broker.streams.embedded import EmbeddedServer, NoEmbeddedServer
from deploy.errors import EnvironmentFailure
from deploy.processes.janitor import Janitor


class RunServer:
    """A server that answers. One that is not our own is left as it was found."""

    def __init__(self, address: Address, own: EmbeddedServer | None = None) -> None:
        self.address = address
        self._own = own

    @property
    def is_our_own(self) -> bool:
        """Whether it serves this run alone, and ends with it."""
        return self._own is not None

    @property
    def pid(self) -> int | None:
        """Its process; None when it is not our own."""
        return None if self._own is None else self._own.pid

    def start_again(self) -> int:
        """Start our own one, which has ended, with all that it held; its new pid. Raises OSError."""
        assert self._own is not None, "a shared server is not ours to start"
        return self._own.start_again()


@contextmanager
def server_for(address: Address | None, janitor: Janitor) -> Iterator[RunServer]:
    """The server at an address, or a private one that lives within. Raises UnsupportedServer, EnvironmentFailure."""
    if address is not None:
        with Server.at(address) as server:
            server.check()
        yield RunServer(address)
        return
    try:
        own = EmbeddedServer()
    except NoEmbeddedServer as error:
        raise EnvironmentFailure(str(error)) from None
    try:
        janitor.watch(own.pid)
        janitor.folder(own.folder)
        yield RunServer(Address.one(own.url), own)
    finally:
        own.stop()
        janitor.forget(own.pid)
