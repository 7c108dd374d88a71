"""A server that hangs up instead of answering, and is a whole cluster by itself. No tests here."""

from __future__ import annotations

import socket
import threading

import hiredis


class ForgetfulServer:
    """Listens at `url`. `received` are the names of the commands that it got, but for those of a connection's setup."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self.url = f"redis-cluster://127.0.0.1:{self._port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> ForgetfulServer:
        return self

    def __exit__(self, *_error: object) -> None:
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
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        reader = hiredis.Reader(notEnoughData=None)
        with client:
            while data := client.recv(1 << 16):
                reader.feed(data)
                while command := reader.gets():
                    reply = self._reply(command)
                    if reply is None:
                        return
                    client.sendall(reply)

    def _reply(self, command: list[bytes]) -> bytes | None:
        match command:
            case [b"HELLO", *_]:
                return b"%1\r\n$5\r\nproto\r\n:3\r\n"
            case [b"CLUSTER", b"SLOTS"]:
                return b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$2\r\nid\r\n" % self._port
            case [b"WATCH", *_]:
                return b"+OK\r\n"
            case [b"MULTI", *_]:
                return b"+OK\r\n"
        self.received.append(command[0].decode())
        return None
