"""A proxy that loses replies: it passes a request on, waits until the server has answered, and hangs up instead. It can
also let everything take its time.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from pathlib import Path


class CuttingProxy:
    """Listens on a unix socket at `url` and stands between its clients and the server's socket, `delay_s` away (one
    way)."""

    def __init__(self, server: Path, socket_path: Path, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        self.url = f"unix://{socket_path}"
        self.cuts = 0
        self.requests = 0  # that contained the bytes looked for, cut or not
        self._server = server
        self._wanted: bytes | None = None
        self._cuts_left = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(socket_path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self, request: bytes, times: int = 1) -> None:
        """Lose the replies to the next `times` requests that contain these bytes."""
        self._wanted, self._cuts_left, self.cuts, self.requests = request, times, 0, 0

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._server))
        cutting = False
        with client, server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    try:
                        data = key.fileobj.recv(1 << 20)
                    except ConnectionError:
                        return
                    if not data:
                        return
                    if key.fileobj is client:
                        cutting = self._is_to_be_cut(data) or cutting
                    elif cutting:
                        self.cuts += 1
                        return  # the server has done it, and the client will never know
                    time.sleep(self._delay_s)
                    key.data.sendall(data)

    def _is_to_be_cut(self, request: bytes) -> bool:
        if self._wanted is None or self._wanted not in request:
            return False
        self.requests += 1
        self._cuts_left -= 1
        return self._cuts_left >= 0
