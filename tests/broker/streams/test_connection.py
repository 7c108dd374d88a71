"""What is said about servers that will not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.streams.connection import UnsupportedServer, check_server, connect, parse_url


@pytest.mark.parametrize(
    ("url", "output"),
    [
        ("http://localhost", "redis://, rediss:// or unix://"),
        ("localhost:6379", "redis://, rediss:// or unix://"),
        ("unix://", "names a socket"),
        ("redis://localhost?socket_timeout=0", "'socket_timeout' is no option"),
        ("redis://:pass word@localhost:port", "reads like redis://"),
    ],
)
def test_a_bad_url_states_what_is_allowed(url: str, output: str) -> None:
    with pytest.raises(ValueError, match=output) as refusal:
        parse_url(url)
    assert "pass word" not in str(refusal.value)


def test_an_address_is_what_the_url_states() -> None:
    assert parse_url("redis://:pw@host:7000/2") == {"host": "host", "port": 7000, "password": "pw", "db": 2}
    assert parse_url("rediss://host") == {"host": "host", "ssl": True}
    assert parse_url("unix:///run/redis.sock?db=1") == {"unix_socket_path": "/run/redis.sock", "db": 1}


def test_a_server_that_is_not_there_is_a_usage_error_in_one_line(tmp_path: Path) -> None:
    with (
        connect(f"unix://{tmp_path}/none.sock") as client,
        pytest.raises(UnsupportedServer, match=r"none\.sock") as refusal,
    ):
        check_server(client)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("version", "fit"), [("6.2.14", False), ("7.0.0", True), ("7.2.4", True), ("10.1", True)])
def test_redis_7_is_the_oldest_that_will_do(monkeypatch: pytest.MonkeyPatch, version: str, fit: bool) -> None:
    with connect("redis://localhost") as client:
        monkeypatch.setattr(client, "info", lambda section: {"redis_version": version})
        if fit:
            check_server(client)
        else:
            with pytest.raises(UnsupportedServer, match=version):
                check_server(client)
