"""Fixtures that several folders of tests share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.streams.embedded import EmbeddedServer
from tests.support.live_place import Place
from tests.support.redis_cluster import RedisCluster
from tests.support.terminal import Terminal

JOIN_S = 10.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="Run the tests that take long, too.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skipped = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=skipped)
    items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.clear()


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A private server, one for all tests of a file."""
    with EmbeddedServer() as embedded:
        yield embedded


@pytest.fixture(scope="module")
def redis_cluster() -> Iterator[RedisCluster]:
    """Three masters on loopback, for all tests of a file."""
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROBOTS_RUNS_DIR", raising=False)
    monkeypatch.delenv("ROBOTS_REDIS_URL", raising=False)
    return tmp_path


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capfd)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """The threads of a test end before the next one: a fork copies one thread only, and commands refuse to fork."""
    yield
    for thread in threading.enumerate()[1:]:
        thread.join(JOIN_S)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A command that was asked to end ignores signals until its process is gone; a test's process goes on."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
