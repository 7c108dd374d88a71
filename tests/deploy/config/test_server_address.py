"""The server that a person names, and how a wrong name of it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.streams.address import Address
from deploy.config.server_address import server_address
from deploy.config.settings import load_place
from deploy.errors import UsageError

ONE, OTHER = "redis://robots@a:1", "redis://robots@b:2"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("p@ss\nsecond line\n")
    return file


def test_one_url_names_both_planes() -> None:
    assert server_address(ONE, None, None, None) == Address(ONE, ONE)
    assert server_address(None, None, None, None) is None


def test_two_urls_name_a_plane_each() -> None:
    cluster = "redis-cluster://c:1,d:2"
    assert server_address(None, ONE, cluster, None) == Address(ONE, cluster)


def test_the_password_comes_from_a_file(password: Path) -> None:
    address = server_address(None, ONE, OTHER, password)

    assert address == Address("redis://robots:p%40ss@a:1", "redis://robots:p%40ss@b:2")


@pytest.mark.parametrize(
    ("urls", "output"),
    [
        ((ONE, OTHER, None), "--redis-url: one server for both"),
        ((None, ONE, None), "go together"),
        ((None, None, ONE), "go together"),
        (("redis-cluster://a", None, None), "--redis-url: a Redis Cluster can hold the streams alone"),
        ((None, "redis-cluster://a", ONE), "--control-url: a Redis Cluster can hold the streams alone"),
    ],
)
def test_what_names_no_server_is_refused(urls: tuple[str | None, str | None, str | None], output: str) -> None:
    with pytest.raises(UsageError, match=output):
        server_address(*urls, None)


@pytest.mark.parametrize("content", [b"", b"\nlater", b"x" * 1025, b"\xff"])
def test_a_file_without_a_password_is_refused(password: Path, content: bytes) -> None:
    password.write_bytes(content)

    with pytest.raises(UsageError, match="--redis-password-file") as refusal:
        server_address(ONE, None, None, password)
    assert "x" * 20 not in str(refusal.value)


def test_a_password_in_two_places_is_refused_and_not_shown(password: Path) -> None:
    with pytest.raises(UsageError, match="holds a password already") as refusal:
        server_address("redis://robots:hidden@a", None, None, password)
    assert "hidden" not in str(refusal.value)

    with pytest.raises(UsageError, match="No such file"):
        server_address(ONE, None, None, password.with_name("absent"))


def test_the_environment_names_both_planes_and_the_password(password: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(password.parent)
    monkeypatch.delenv("ROBOTS_REDIS_URL", raising=False)
    monkeypatch.setenv("ROBOTS_CONTROL_URL", ONE)
    monkeypatch.setenv("ROBOTS_DATA_URL", "redis-cluster://robots@b")
    monkeypatch.setenv("ROBOTS_REDIS_PASSWORD_FILE", str(password))

    assert load_place({}).address == Address("redis://robots:p%40ss@a:1", "redis-cluster://robots:p%40ss@b")
