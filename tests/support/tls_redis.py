"""A Redis server that speaks TLS alone, and lets in only the users that the lab ships. No tests here."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final

import redis

from tests.support.redis_nodes import HOST, Node
from tests.support.redis_users import write_users
from tests.support.waiting import await_true

_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.certificate = folder / "ca.crt"
        self._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=lab CA")

    def sign(self, name: str, host: str) -> tuple[Path, Path]:
        """A certificate for the address `host`, and its key."""
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        (self._folder / "names").write_text(f"subjectAltName=IP:{host}\n")
        self._openssl("req", *_KEY, "-keyout", key.name, "-out", f"{name}.csr", "-subj", f"/CN={name}")
        issuer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
        request = ("x509", "-req", "-in", f"{name}.csr", "-out", certificate.name, "-days", "2", "-extfile", "names")
        self._openssl(*request, *issuer)
        return certificate, key

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self._folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


class TlsServer:
    """The server, with a certificate for the address `host`. It ends with the `with` block."""

    def __init__(self, folder: Path, host: str = HOST) -> None:
        self.authority = Authority(folder / "ca")
        certificate, key = self.authority.sign("server", host)
        self.node = Node(
            folder,
            *("--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(self.authority.certificate), "--aclfile", str(write_users(folder))),
        )
        try:
            await_true(lambda: "Ready to accept connections" in self.node.living_log(), what="a server with TLS")
        except BaseException:
            self.node.kill()
            raise

    @property
    def url(self) -> str:
        """Where a lab reaches it, without the password."""
        return self.url_of("robots")

    def url_of(self, login: str, certificate: Path | None = None) -> str:
        """Its URL for a login (`user`, or `user:password`), for a client that trusts this authority."""
        trusted = certificate or self.authority.certificate
        return f"rediss://{login}@{HOST}:{self.node.port}?ssl_ca_certs={trusted}"

    def admin(self) -> redis.Redis:
        """A client that may do everything."""
        return redis.Redis.from_url(self.url_of("admin:any"), socket_timeout=5)

    def __enter__(self) -> TlsServer:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.node.kill()
