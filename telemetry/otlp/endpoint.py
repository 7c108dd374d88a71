"""Where a collector is, and how it is spoken to: the settings of OpenTelemetry's OTLP exporters, with the meaning that
its specification gives them (`OTEL_EXPORTER_OTLP_TRACES_…` wins over `OTEL_EXPORTER_OTLP_…`, for metrics likewise).

Two things differ: the protocol is `http/json` unless another one is set, and what cannot be used is an error and not
passed over. Headers, and user and password in a URL, are secrets: nothing here shows them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import msgspec

Protocol = Literal["http/json", "http/protobuf"]
Signal = Literal["traces", "metrics"]

DEFAULT_TIMEOUT_MS: Final = 10_000
LONGEST_TIMEOUT_MS: Final = 3_600_000
JAEGER_UI_PORT: Final = 16686
_OTLP_PORT: Final = 4318
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # of a header (RFC 9110)
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class BadEndpoint(Exception):
    """A variable of the environment cannot be used; the message is one line that names it, and shows no secret."""


class Endpoint(msgspec.Struct, frozen=True):
    """A collector of one signal. `url` is whole, with the path for the signal; its user and password stand in
    `headers`. The paths of certificates are empty where none is set."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = DEFAULT_TIMEOUT_MS / 1000
    protocol: Protocol = "http/json"
    is_compressed: bool = False
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""
    signal: Signal = "traces"

    def __repr__(self) -> str:
        return f"Endpoint({self.shown})"

    @property
    def shown(self) -> str:
        """The endpoint for people: scheme, host and port. A path may hold a secret, too."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc, "", "", ""))

    @property
    def is_tls(self) -> bool:
        """Whether it is reached by TLS."""
        return urlsplit(self.url).scheme == "https"

    @property
    def jaeger_ui(self) -> str:
        """Where Jaeger's UI is if the collector is a Jaeger with its usual ports; empty when the port is another one,
        because then nothing is known of it."""
        parts = urlsplit(self.url)
        if parts.port != _OTLP_PORT:
            return ""
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"http://{host}:{JAEGER_UI_PORT}"


def are_traces_off(environment: Mapping[str, str]) -> bool:
    """Whether the environment wants no traces at all."""
    return _is_off(environment, "traces")


def _is_off(environment: Mapping[str, str], signal: Signal) -> bool:
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return is_disabled or environment.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() == "none"


def endpoint_of(environment: Mapping[str, str], signal: Signal = "traces") -> Endpoint | None:
    """The collector that the environment names for a signal; None when it names none, or switches the signal off.
    Raises BadEndpoint."""
    if _is_off(environment, signal):
        return None
    variables = _Variables(environment, signal)
    name, url = variables.find("ENDPOINT")
    if not url:
        return None
    parts = _parts(name, url)
    if signal.upper() not in name:  # a base: the path for the signal comes behind its own
        parts = parts._replace(path=f"{parts.path.rstrip('/')}/v1/{signal}")
    return Endpoint(
        url=urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path or "/", parts.query, "")),
        headers=_headers(variables, parts),
        timeout_s=_timeout_ms(variables) / 1000,
        protocol=_protocol(variables),
        is_compressed=_is_compressed(variables),
        certificate=variables.find("CERTIFICATE")[1],
        client_certificate=variables.find("CLIENT_CERTIFICATE")[1],
        client_key=variables.find("CLIENT_KEY")[1],
        signal=signal,
    )


class _Variables:
    """The variables of a signal's exporter. An empty one is as good as none."""

    def __init__(self, environment: Mapping[str, str], signal: Signal) -> None:
        self._environment = environment
        self._signal = signal

    def find(self, option: str) -> tuple[str, str]:
        """The name and the value of the variable that counts for the signal; the value is empty when none is set."""
        names = f"OTEL_EXPORTER_OTLP_{self._signal.upper()}_{option}", f"OTEL_EXPORTER_OTLP_{option}"
        name = next((name for name in names if self._environment.get(name, "").strip()), names[1])
        return name, self._environment.get(name, "").strip()


def _parts(name: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # whose own text may show a password
        is_usable = False
    if not is_usable or not url.isprintable() or " " in url:
        raise BadEndpoint(f"{name}: not the URL of a collector; allowed is one like http://127.0.0.1:4318")
    return parts


def _headers(variables: _Variables, parts: SplitResult) -> tuple[tuple[str, str], ...]:
    """`name=value,…`, percent-encoded, and a user and password of the URL as HTTP's basic authorization."""
    variable, text = variables.find("HEADERS")
    headers: dict[str, str] = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    for pair in filter(str.strip, text.split(",")):
        name, equals, value = (part.strip() for part in pair.partition("="))
        name, value = unquote(name).lower(), unquote(value)
        if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadEndpoint(f"{variable}: not all of it reads as name=value with commas between, percent-encoded")
        headers[name] = value
    return tuple(headers.items())


def _timeout_ms(variables: _Variables) -> int:
    name, text = variables.find("TIMEOUT")
    if not text:
        return DEFAULT_TIMEOUT_MS
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LONGEST_TIMEOUT_MS:
        raise BadEndpoint(f"{name}: allowed are whole milliseconds from 1 to {LONGEST_TIMEOUT_MS}")
    return int(text)


def _protocol(variables: _Variables) -> Protocol:
    name, text = variables.find("PROTOCOL")
    match text:
        case "" | "http/json":
            return "http/json"
        case "http/protobuf":
            return "http/protobuf"
    raise BadEndpoint(
        f"{name}: allowed are http/json and http/protobuf; OTEL_SDK_DISABLED=true switches the export off"
    )


def _is_compressed(variables: _Variables) -> bool:
    name, text = variables.find("COMPRESSION")
    if text not in ("", "none", "gzip"):
        raise BadEndpoint(f"{name}: allowed are gzip and none")
    return text == "gzip"
