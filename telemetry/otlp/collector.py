"""One HTTP connection to a collector, and what its answers mean by OTLP's rules.

Nothing is retried here. What is said about trouble names neither a header, nor a path, nor a word that came from the
other side.
"""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import ssl
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from telemetry.otlp.endpoint import BadEndpoint, Endpoint

CONTENT_TYPES: Final = {"http/json": "application/json", "http/protobuf": "application/x-protobuf"}
PROBE_S: Final = 2.0  # for a collector to answer whether it is there
_EMPTY_REQUESTS: Final = {"http/json": b'{"resourceSpans":[]}', "http/protobuf": b""}
_TRANSIENT: Final = {429, 502, 503, 504}  # by OTLP/HTTP; all other refusals are final
_LARGEST_ANSWER: Final = 1 << 16  # bytes
_LONGEST_WAIT_S: Final = 3600.0


class CollectorAnswer(NamedTuple):
    """A collector's answer. `trouble` says why nothing was accepted, empty when it was; `retry_after_s` is what the
    collector asks for. `rejected`: of an accepted request, the spans that the collector did not take all the same."""

    trouble: str = ""
    is_transient: bool = False
    retry_after_s: float = 0.0
    rejected: int = 0


class Collector:
    """A connection that is opened when it is needed, and again after any trouble."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises BadEndpoint when a certificate cannot be used."""
        self._endpoint = endpoint
        parts = urlsplit(endpoint.url)
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._headers = {"user-agent": "robots-lab", "content-type": CONTENT_TYPES[endpoint.protocol]}
        self._headers |= {"content-encoding": "gzip"} if endpoint.is_compressed else {}
        self._headers |= dict(endpoint.headers)
        self._tls = _tls(endpoint) if parts.scheme == "https" else None
        self._host, self._port = parts.hostname or "", parts.port
        self._connection: http.client.HTTPConnection | None = None

    def probe(self) -> CollectorAnswer:
        """What the collector answers to a request without spans."""
        answer = self.send(_EMPTY_REQUESTS[self._endpoint.protocol], min(PROBE_S, self._endpoint.timeout_s))
        self.close()  # its timeout was another one
        return answer

    def send(self, body: bytes, timeout_s: float) -> CollectorAnswer:
        """Have a request answered. No step of it may take longer than `timeout_s`."""
        content = gzip.compress(body, compresslevel=1) if self._endpoint.is_compressed else body
        is_reused = self._connection is not None
        try:
            return self._ask(content, timeout_s)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if not is_reused:
                return CollectorAnswer(_trouble(error), is_transient=True)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return CollectorAnswer(_trouble(error), is_transient=True)
        return self.send(body, timeout_s)  # an idle connection was closed by the other side: that is its right

    def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """Let a request of another thread fail at once."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _ask(self, content: bytes, timeout_s: float) -> CollectorAnswer:
        connection = self._connection = self._connection or self._connect(timeout_s)
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        connection.request("POST", self._path, content, self._headers)
        response = connection.getresponse()
        text = response.read(_LARGEST_ANSWER)
        if response.will_close or not response.isclosed():
            self.close()
        return self._meaning(response, text)

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _meaning(self, response: http.client.HTTPResponse, text: bytes) -> CollectorAnswer:
        status = response.status
        if status != HTTPStatus.OK:
            wait_s = _seconds(response.getheader("retry-after"))
            return CollectorAnswer(f"it answers {_named(status)}", status in _TRANSIENT, wait_s)
        if self._endpoint.protocol == "http/protobuf":
            is_ours = CONTENT_TYPES["http/protobuf"] in (response.getheader("content-type") or "")
            return (
                CollectorAnswer() if is_ours or not text else CollectorAnswer("it answers, but not as a collector does")
            )
        rejected = _rejected(text)
        return (
            CollectorAnswer("it answers, but not as a collector does")
            if rejected is None
            else CollectorAnswer(rejected=rejected)
        )


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.certificate or None)
        if endpoint.client_certificate:
            context.load_cert_chain(endpoint.client_certificate, endpoint.client_key or None)
    except OSError as error:  # an SSLError is one, too
        raise BadEndpoint(f"OTEL_EXPORTER_OTLP_CERTIFICATE, …_CLIENT_…: {error.strerror or error}") from None
    return context


def _trouble(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "it does not answer in time"
        case ssl.SSLCertVerificationError():
            return "its certificate is not trusted"
        case ssl.SSLError():
            return "it does not speak TLS as it should"
        case socket.gaierror():
            return "its host is unknown"
        case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError():
            return "it hangs up"
        case OSError() if error.strerror:
            return error.strerror.lower()
    return "what it answers is not HTTP"


def _named(status: int) -> str:
    """A status in the words of the standard, and not in those of the other side."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _seconds(text: str | None) -> float:
    """`Retry-After` in seconds; a date counts as none."""
    return min(float(text), _LONGEST_WAIT_S) if text and text.isascii() and text.isdigit() else 0.0


def _rejected(text: bytes) -> int | None:
    """How many spans an ExportTraceServiceResponse rejects; None when the text is none."""
    try:
        answer: Any = json.loads(text or b"{}")
        return int((answer.get("partialSuccess") or {}).get("rejectedSpans") or 0)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
