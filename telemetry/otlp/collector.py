"""One HTTP connection to a collector, of traces or of metrics: what its answers mean by OTLP's rules, and how often it
is asked again.

What is said about trouble names neither a header, nor a path, nor a word that came from the other side.
"""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from telemetry.otlp.endpoint import Endpoint
from telemetry.otlp.usable import tls_context

CONTENT_TYPES: Final = {"http/json": "application/json", "http/protobuf": "application/x-protobuf"}
PROBE_S: Final = 2.0  # for a collector to answer whether it is there
ATTEMPTS: Final = 6  # for one request
ABORT_S: Final = 0.5  # for a request to fail after it was given up
_FIRST_PAUSE_S: Final = 0.1
_EMPTY: Final = {"traces": b'{"resourceSpans":[]}', "metrics": b'{"resourceMetrics":[]}'}  # as JSON; protobuf is b""
_REJECTED: Final = {"traces": "rejectedSpans", "metrics": "rejectedDataPoints"}
_NO_COLLECTOR: Final = "it answers, but not as a collector does"
_TRANSIENT: Final = {429, 502, 503, 504}  # by OTLP/HTTP; all other refusals are final
_LARGEST_ANSWER: Final = 1 << 16  # bytes
_LONGEST_WAIT_S: Final = 3600.0


class CollectorAnswer(NamedTuple):
    """A collector's answer. `trouble` says why nothing was accepted, empty when it was; `retry_after_s` is what the
    collector asks for. `rejected`: of an accepted request, the spans or data points that the collector did not take all
    the same."""

    trouble: str = ""
    is_transient: bool = False
    retry_after_s: float = 0.0
    rejected: int = 0


class Collector:
    """A connection that is opened when it is needed, and again after any trouble. One thread may shut it down while
    another one uses it."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises BadEndpoint when a certificate cannot be used."""
        self._endpoint = endpoint
        parts = urlsplit(endpoint.url)
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._headers = {"user-agent": "robots-lab", "content-type": CONTENT_TYPES[endpoint.protocol]}
        self._headers |= {"content-encoding": "gzip"} if endpoint.is_compressed else {}
        self._headers |= dict(endpoint.headers)
        self._tls = tls_context(endpoint) if endpoint.is_tls else None
        self._host, self._port = parts.hostname or "", parts.port
        self._connection: http.client.HTTPConnection | None = None
        self._using = threading.Lock()  # the connection
        self._is_over = threading.Event()

    def probe(self) -> CollectorAnswer:
        """What the collector answers to a request without content."""
        is_json = self._endpoint.protocol == "http/json"
        with self._using:
            answer = self._send(
                _EMPTY[self._endpoint.signal] if is_json else b"", min(PROBE_S, self._endpoint.timeout_s)
            )
            self._close()  # its timeout was another one
        return answer

    def deliver(self, body: bytes) -> CollectorAnswer:
        """Have a request answered, in at most ATTEMPTS attempts within the endpoint's timeout: the last answer."""
        with self._using:
            return self._retry(body)

    def shut_down(self) -> None:
        """Hang up. Attempts that go on in another thread fail soon, and none is begun."""
        self._is_over.set()
        self._abort()
        if self._using.acquire(timeout=ABORT_S):  # else a step that cannot be aborted; the connection ends with it
            self._close()
            self._using.release()

    def _retry(self, body: bytes) -> CollectorAnswer:
        deadline = time.monotonic() + self._endpoint.timeout_s
        pause_s, answer = _FIRST_PAUSE_S, CollectorAnswer("it was not asked")
        for _ in range(ATTEMPTS):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._is_over.is_set():
                break
            answer = self._send(body, left_s)
            wait_s = max(pause_s, answer.retry_after_s)
            if not answer.is_transient or time.monotonic() + wait_s > deadline or self._is_over.wait(wait_s):
                break
            pause_s *= 2
        return answer

    def _send(self, body: bytes, timeout_s: float) -> CollectorAnswer:
        """Make one attempt. No step of it may take longer than `timeout_s`."""
        content = gzip.compress(body, compresslevel=1) if self._endpoint.is_compressed else body
        is_reused = self._connection is not None
        try:
            return self._ask(content, timeout_s)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self._close()
            if not is_reused:
                return CollectorAnswer(_trouble(error), is_transient=True)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._close()
            return CollectorAnswer(_trouble(error), is_transient=True)
        return self._send(body, timeout_s)  # an idle connection was closed by the other side: that is its right

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _abort(self) -> None:
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
            self._close()
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
            return CollectorAnswer() if is_ours or not text else CollectorAnswer(_NO_COLLECTOR)
        rejected = _rejected(text, _REJECTED[self._endpoint.signal])
        return CollectorAnswer(_NO_COLLECTOR) if rejected is None else CollectorAnswer(rejected=rejected)


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


def _rejected(text: bytes, field: str) -> int | None:
    """How many items the answer to an export rejects, by this field of it; None when the text is no such answer."""
    try:
        answer: Any = json.loads(text or b"{}")
        return int((answer.get("partialSuccess") or {}).get(field) or 0)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
