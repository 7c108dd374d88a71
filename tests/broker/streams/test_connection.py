"""What is said about servers that will not do."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from broker.streams.address import parse_url, with_password
from broker.streams.connection import ServerAway, UnsupportedServer, check_server, connect


@pytest.mark.parametrize(
    ("url", "output"),
    [
        ("http://localhost", r"begins with redis://, rediss://, unix://, redis\+sentinel:// or redis-cluster://"),
        ("localhost:6379", "begins with redis://"),
        ("unix://", "names a socket"),
        ("redis://localhost?socket_timeout=0", "'socket_timeout' is no option"),
        ("redis://:pass word@localhost:port", "reads like redis://"),
        ("redis+sentinel://:pass word@a,b", "ends with the master's name"),
        ("redis+sentinel://:pass word@a,b:port/m", "hosts with commas between them"),
        ("redis+sentinel:///m", "hosts with commas between them"),
        ("redis://a?sentinel_password=x", "'sentinel_password' is no option"),
        ("redis-cluster://:pass word@a,b/3", "one database only"),
    ],
)
def test_a_bad_url_states_what_is_allowed(url: str, output: str) -> None:
    with pytest.raises(ValueError, match=output) as refusal:
        parse_url(url)
    assert "pass word" not in str(refusal.value)


def test_an_address_is_what_the_url_states() -> None:
    assert parse_url("redis://:pw@host:7000/2").login == {"host": "host", "port": 7000, "password": "pw", "db": 2}
    assert parse_url("rediss://host").login == {"host": "host", "ssl": True}
    assert parse_url("unix:///run/redis.sock?db=1").login == {"unix_socket_path": "/run/redis.sock", "db": 1}


def test_sentinels_and_clusters_are_named_by_several_hosts() -> None:
    master = parse_url("rediss+sentinel://lab:p%40w@a:1,b,[::1]:7/mymaster/3?ssl_ca_certs=/ca&sentinel_password=x")
    assert (master.kind, master.master) == ("sentinel", "mymaster")
    assert master.hosts == (("a", 1), ("b", 26379), ("::1", 7))
    tls = {"ssl": True, "ssl_ca_certs": "/ca"}
    assert master.login == {"username": "lab", "password": "p@w", "db": 3, **tls}
    assert master.to_sentinels == {"password": "x", **tls}
    cluster = parse_url("redis-cluster://lab@a,b:7")
    assert (cluster.kind, cluster.hosts, cluster.login) == (
        "cluster",
        (("a", 6379), ("b", 7)),
        {"username": "lab"},
    )


@pytest.mark.parametrize(
    "url", ["redis://lab@h:1/2", "redis://h", "unix://lab@/run/s?db=1", "redis+sentinel://a,b/m", "redis-cluster://a,b"]
)
def test_a_password_can_come_from_beside_the_url(url: str) -> None:
    before, after = parse_url(url), parse_url(with_password(url, "p@:/ w"))
    assert after.login == {**before.login, "password": "p@:/ w"}
    assert (after.hosts, after.master) == (before.hosts, before.master)
    with pytest.raises(ValueError, match="holds a password already"):
        with_password(with_password(url, "one"), "two")


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


@pytest.mark.parametrize(
    ("cause", "may_come_back"),
    [
        (ssl.SSLEOFError("it hung up"), True),
        (ConnectionRefusedError("not started"), True),
        (ssl.SSLCertVerificationError("certificate verify failed"), False),
        (ssl.SSLError("wrong version number"), False),
        (FileNotFoundError("the certificates"), False),
    ],
)
def test_a_server_is_waited_for_unless_it_is_another_one(
    monkeypatch: pytest.MonkeyPatch, cause: OSError, may_come_back: bool
) -> None:
    def refuse(section: str) -> None:
        raise RedisConnectionError(section) from cause

    with connect("rediss://localhost") as client:
        monkeypatch.setattr(client, "info", refuse)
        with pytest.raises(UnsupportedServer) as refusal:
            check_server(client)
    assert isinstance(refusal.value, ServerAway) == may_come_back
