"""What an endpoint needs on this host before anything can be sent to it: certificates that can be used, and the package
of its protocol.

Nothing of OpenTelemetry is loaded here, so that a command can ask before it starts anything.
"""

from __future__ import annotations

import ssl
from importlib.util import find_spec
from typing import Final

from telemetry.otlp.endpoint import BadEndpoint, Endpoint

OFFICIAL: Final = "opentelemetry.exporter.otlp.proto.http"
_EXTRA: Final = "pip install 'robots-lab[otlp]'"


def demand_usable(endpoint: Endpoint) -> None:
    """Raises BadEndpoint when a certificate cannot be used, or the package of the protocol is not installed."""
    demand_package(endpoint)
    if endpoint.is_tls:
        tls_context(endpoint)


def demand_package(endpoint: Endpoint) -> None:
    """Raises BadEndpoint when the package of the endpoint's protocol is not installed."""
    if endpoint.protocol == "http/protobuf" and not _is_installed(OFFICIAL):
        raise BadEndpoint(f"OTEL_EXPORTER_OTLP_PROTOCOL: http/protobuf needs more packages: {_EXTRA}")


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """For connections to the endpoint. Raises BadEndpoint when a certificate cannot be used."""
    try:
        context = ssl.create_default_context(cafile=endpoint.certificate or None)
        if endpoint.client_certificate:
            context.load_cert_chain(endpoint.client_certificate, endpoint.client_key or None)
    except OSError as error:  # an SSLError is one, too
        raise BadEndpoint(f"OTEL_EXPORTER_OTLP_CERTIFICATE, …_CLIENT_…: {error.strerror or error}") from None
    return context


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even what it would lie in
        return False
