"""The third driver of the port contract: our ports over streams, on fakeredis. fakeredis is used nowhere else.

fakeredis imitates a server inside the process. It shows that the ports work without a server, and where an imitation
is not enough: UNFAITHFUL names each contract that holds on a real server and not here, and why. No tests here.
"""

from __future__ import annotations

from typing import Any, Final

import fakeredis
import redis
import redis.asyncio

from tests.support.port_labs import StreamsLab

_NO_INFO: Final = "it knows neither WAITAOF nor INFO, so a written register cannot say how durable it is"

UNFAITHFUL: Final = {
    "test_the_register_is_written_once": _NO_INFO,
    "test_a_write_under_a_smaller_id_keeps_out_only_what_is_not_later": _NO_INFO,
    "test_of_twenty_concurrent_writers_one_is_accepted": _NO_INFO,
    "test_a_zombie_cannot_write": _NO_INFO,
    "test_an_attempt_that_the_server_forgot_is_reported_and_never_made_again": _NO_INFO,
    "test_a_life_whose_birth_the_server_forgot_may_write": _NO_INFO,
}
"""A contract test, and in which way fakeredis differs from a real server there. The test must end with the error of a
refused command; when it passes, fakeredis has learned, and the entry goes."""


class FakeredisLab(StreamsLab):
    """A run over the streams of a fakeredis server of its own."""

    def __init__(self, *robots: str, **options: Any) -> None:
        self._imitation = fakeredis.FakeServer()
        super().__init__("redis://fakeredis", *robots, **options)

    def connect(self, url: str) -> redis.Redis:
        return fakeredis.FakeRedis(server=self._imitation)

    def connect_async(self, url: str) -> redis.asyncio.Redis:
        return fakeredis.FakeAsyncRedis(server=self._imitation)

    def twin(self, client: redis.asyncio.Redis, connections: int | None = None) -> redis.asyncio.Redis:
        """In the place of `async_twin`, which would look for a real server at the client's address."""
        return fakeredis.FakeAsyncRedis(server=self._imitation, max_connections=connections)
