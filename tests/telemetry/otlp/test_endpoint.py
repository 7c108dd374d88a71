"""The collector that the environment names, as OpenTelemetry's specification says; and no secret in what is shown."""

from __future__ import annotations

import sys

import pytest

from telemetry.otlp.endpoint import BadEndpoint, Endpoint, endpoint_of
from telemetry.otlp.usable import demand_usable


def given(**variables: str) -> Endpoint:
    endpoint = endpoint_of({f"OTEL_EXPORTER_OTLP_{name}": value for name, value in variables.items()})
    assert endpoint is not None
    return endpoint


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"ENDPOINT": "http://lab:4318"}, "http://lab:4318/v1/traces"),
        ({"ENDPOINT": "http://lab:4318/"}, "http://lab:4318/v1/traces"),
        ({"ENDPOINT": "https://lab/otlp/"}, "https://lab/otlp/v1/traces"),
        ({"ENDPOINT": "http://[::1]:4318"}, "http://[::1]:4318/v1/traces"),
        ({"TRACES_ENDPOINT": "http://lab:9/mine?tenant=a"}, "http://lab:9/mine?tenant=a"),  # as it is
        ({"TRACES_ENDPOINT": "http://lab:9"}, "http://lab:9/"),
        ({"ENDPOINT": "http://other", "TRACES_ENDPOINT": "http://lab:9/x"}, "http://lab:9/x"),
        ({"ENDPOINT": "http://lab", "TRACES_ENDPOINT": " "}, "http://lab/v1/traces"),  # empty is as good as none
    ],
)
def test_the_url_for_traces(variables: dict[str, str], url: str) -> None:
    assert given(**variables).url == url


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://lab:4318/v1/metrics"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://lab:4318", "OTEL_SDK_DISABLED": "TRUE"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://lab:4318", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_or_switched_off_there_is_none(environment: dict[str, str]) -> None:
    assert endpoint_of(environment) is None


def test_what_is_set_for_traces_wins() -> None:
    endpoint = given(
        ENDPOINT="http://lab:4318",
        HEADERS="x-a=1",
        TRACES_HEADERS="X-Tenant=a%20b, x-b = c=d ,",
        TIMEOUT="3000",
        TRACES_TIMEOUT="250",
        PROTOCOL="http/json",
        TRACES_PROTOCOL="http/protobuf",
        COMPRESSION="none",
        TRACES_COMPRESSION="gzip",
        CERTIFICATE="/all",
        TRACES_CERTIFICATE="/traces",
    )

    assert endpoint.headers == (("x-tenant", "a b"), ("x-b", "c=d"))
    assert (endpoint.timeout_s, endpoint.protocol, endpoint.is_compressed) == (0.25, "http/protobuf", True)
    assert endpoint.certificate == "/traces"


def test_defaults() -> None:
    endpoint = given(ENDPOINT="http://lab:4318")

    assert (endpoint.timeout_s, endpoint.protocol, endpoint.is_compressed) == (10.0, "http/json", False)


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENDPOINT", f"lab/{SECRET}"),
        ("ENDPOINT", f"ftp://u:{SECRET}@lab"),
        ("ENDPOINT", f"http://u:{SECRET}@lab:70000"),
        ("ENDPOINT", f"http://u:{SECRET}@[::1"),
        ("ENDPOINT", f"http://lab/{SECRET}\r\nx"),
        ("HEADERS", f"authorization={SECRET}%0d%0ax: y"),
        ("HEADERS", f"author ization={SECRET}"),
        ("HEADERS", SECRET),
        ("TIMEOUT", "10s"),
        ("TIMEOUT", "0"),
        ("TIMEOUT", "-1"),
        ("TIMEOUT", "9" * 5000),
        ("PROTOCOL", "grpc"),
        ("COMPRESSION", "zstd"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line_without_a_secret(name: str, value: str) -> None:
    with pytest.raises(BadEndpoint) as caught:
        given(**{"ENDPOINT": "http://lab:4318", name: value})

    line = str(caught.value)
    assert f"OTEL_EXPORTER_OTLP_{name}" in line
    assert "allowed" in line or "name=value" in line
    assert SECRET not in line
    assert line.isprintable()


def test_user_and_password_become_a_header_and_are_never_shown() -> None:
    endpoint = given(ENDPOINT=f"https://me:{SECRET}%40@lab:4318/{SECRET}?key={SECRET}", HEADERS=f"x-key={SECRET}")

    assert dict(endpoint.headers)["authorization"] == "Basic bWU6aHVudGVyMkA="
    assert "@" not in endpoint.url
    for shown in (endpoint.shown, repr(endpoint), str(endpoint), f"{endpoint}", repr([endpoint])):
        assert SECRET not in shown
    assert endpoint.shown == "https://lab:4318"


@pytest.mark.parametrize("name", ["CERTIFICATE", "CLIENT_CERTIFICATE"])
def test_a_certificate_that_cannot_be_read_is_found_before_anything_is_sent(name: str) -> None:
    with pytest.raises(BadEndpoint, match=r"OTEL_EXPORTER_OTLP_CERTIFICATE.*: No such file or directory"):
        demand_usable(given(ENDPOINT="https://lab:4318", **{name: "/nope"}))

    demand_usable(given(ENDPOINT="http://lab:4318", **{name: "/nope"}))  # without TLS none is needed


def test_a_protocol_without_its_package_is_found_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    protobuf = given(ENDPOINT="http://lab:4318", PROTOCOL="http/protobuf")
    demand_usable(protobuf)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)

    with pytest.raises(BadEndpoint, match=r"OTEL_EXPORTER_OTLP_PROTOCOL: .* pip install 'robots-lab\[otlp\]'"):
        demand_usable(protobuf)
    demand_usable(given(ENDPOINT="http://lab:4318"))


@pytest.mark.parametrize(
    ("url", "ui"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:16686"),
        ("http://[::1]:4318", "http://[::1]:16686"),
        ("https://collector.example", ""),
        ("http://127.0.0.1:9999", ""),
    ],
)
def test_jaegers_ui_is_only_guessed_beside_jaegers_port(url: str, ui: str) -> None:
    assert given(ENDPOINT=url).jaeger_ui == ui
