"""Our clients of a Redis Cluster: where commands go, what is sent again, and whom a dead server concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.exceptions import AskError, MovedError, RedisError

from broker.streams.address import Address
from broker.streams.connection import (
    Server,
    UnsupportedServer,
    async_twin,
    check_server,
    connect,
    describe,
)
from broker.streams.embedded import EmbeddedServer
from broker.streams.inspection import STREAM_TRIALS
from broker.streams.retry import OUTAGE, is_transient
from deploy.doctor.servers import Plane, plane_checks
from tests.support.forgetful_server import ForgetfulServer
from tests.support.redis_cluster import ClusterServer, RedisCluster
from tests.support.waiting import await_true

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

numbers = count()


@pytest.fixture
def client(redis_cluster: RedisCluster) -> Iterator[redis.Redis]:
    with connect(redis_cluster.url) as client:
        yield client


@pytest.fixture
def key() -> str:
    return f"lab:{{c{next(numbers)}}}:stream"


def key_at(cluster: RedisCluster, server: ClusterServer) -> str:
    """A new key that the server holds."""
    return next(key for key in (f"lab:{{c{n}}}:stream" for n in numbers) if cluster.master_of(key) is server)


def play(client: redis.Redis, story: Callable[[redis.asyncio.Redis], Awaitable[None]]) -> None:
    async def whole() -> None:
        twin = async_twin(client)
        try:
            await story(twin)
        finally:
            await twin.aclose()

    asyncio.run(whole())


def test_each_command_goes_to_the_server_of_its_key(redis_cluster: RedisCluster, client: redis.Redis) -> None:
    for master in redis_cluster.masters:
        key = key_at(redis_cluster, master)

        client.xadd(key, {"number": 1})

        assert master.client.xlen(key) == 1
        assert client.node(client.owner(key)).client_info()["laddr"] == f"127.0.0.1:{master.port}"


def test_a_pipeline_reaches_several_servers_and_gives_replies_in_order(
    redis_cluster: RedisCluster, client: redis.Redis
) -> None:
    # Given a stream at each server, of one, two and three entries
    keys = [key_at(redis_cluster, master) for master in redis_cluster.masters]
    with client.pipeline(transaction=False) as pipe:
        for number in (0, 1, 2, 1, 2, 2):
            pipe.xadd(keys[number], {"number": number})
        assert len(pipe.execute()) == 6

    # When they are counted in one pipeline, then each count stands in its place
    def ask(pipe: Any) -> Any:
        for number in (2, 0, 1, 0):
            pipe.xlen(keys[number])
        return pipe.execute()

    with client.pipeline(transaction=False) as pipe:
        assert ask(pipe) == [3, 1, 2, 1]

    async def story(twin: redis.asyncio.Redis) -> None:
        async with twin.pipeline(transaction=False) as pipe:
            assert await ask(pipe) == [3, 1, 2, 1]

    play(client, story)


def test_a_transaction_under_watch_stays_with_one_server(client: redis.Redis, key: str) -> None:
    with client.pipeline() as pipe:
        pipe.watch(key)
        number = pipe.client_id()
        assert pipe.xlen(key) == 0
        pipe.multi()
        pipe.xadd(key, {"number": 1})
        [entry] = pipe.execute()
    assert client.node(client.owner(key)).client_id() == number

    async def story(twin: redis.asyncio.Redis) -> None:
        async with twin.pipeline() as pipe:
            await pipe.watch(key)
            [(first, _)] = await pipe.xrange(key)
            assert first == entry
            client.xadd(key, {"number": 2})  # meanwhile
            pipe.multi()
            pipe.xadd(key, {"number": 3})
            with pytest.raises(redis.WatchError):
                await pipe.execute()

    play(client, story)
    assert client.xlen(key) == 2


def test_a_command_follows_a_slot_that_has_moved(redis_cluster: RedisCluster, client: redis.Redis, key: str) -> None:
    # Given clients that know where a stream is
    async def story(twin: redis.asyncio.Redis) -> None:
        for client_or_twin in (client, twin):
            await _maybe(client_or_twin.xadd(key, {"number": 1}))
        # When its slot moves to another server
        target = redis_cluster.others(key)[0]
        redis_cluster.move(key, target)
        # Then their next commands find it there
        for client_or_twin in (client, twin):
            await _maybe(client_or_twin.xadd(key, {"number": 2}))
            assert await _maybe(client_or_twin.xlen(key)) > 1
        assert target.client.xlen(key) == 4
        # And a transaction is refused as one that may be tried again, and then it succeeds
        redis_cluster.move(key, redis_cluster.others(key)[0])
        for client_or_twin in (client, twin):
            refused, pipe = client_or_twin.pipeline(), client_or_twin.pipeline()
            with pytest.raises(MovedError) as refusal:
                await _maybe(refused.watch(key))
            assert is_transient(refusal.value)
            await _maybe(refused.reset())
            await _maybe(pipe.watch(key))
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.xadd(key, {"number": 3})
            await _maybe(pipe.execute())

    play(client, story)
    assert client.xlen(key) == 6


def test_a_slot_on_its_way_is_refused_for_a_while(redis_cluster: RedisCluster, client: redis.Redis, key: str) -> None:
    target = redis_cluster.others(key)[0]
    redis_cluster.begin_move(key, target)
    with pytest.raises(AskError) as refusal:
        client.xadd(key, {"number": 1})
    assert is_transient(refusal.value)

    redis_cluster.move(key, target)

    client.xadd(key, {"number": 1})
    assert client.xlen(key) == 1


def test_a_dead_server_concerns_its_own_keys_alone(redis_cluster: RedisCluster, client: redis.Redis) -> None:
    living, dead, _ = redis_cluster.masters
    there, away = key_at(redis_cluster, living), key_at(redis_cluster, dead)

    async def story(twin: redis.asyncio.Redis) -> None:
        # Given a robot that waits for a message at one server
        await twin.xlen(away)
        waiting = asyncio.create_task(twin.xread({there: "$"}, block=2000))
        await asyncio.to_thread(await_true, lambda: is_blocked(living), what="a read that waits")
        # When another server dies
        dead.kill()
        for client_or_twin in (client, twin):
            with pytest.raises(OUTAGE):
                await _maybe(client_or_twin.xadd(away, {"number": 1}))
        # Then the read goes on, and gets what comes
        client.xadd(there, {"number": 1})
        assert await waiting
        # And all goes on there
        await twin.xadd(there, {"number": 2})
        # And with the dead one, when it is back
        dead.start_again()
        assert await twin.xlen(away) == client.xlen(away) == 0

    play(client, story)


def is_blocked(server: ClusterServer) -> bool:
    return bool(server.client.info("clients")["blocked_clients"])


@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.parametrize("transaction", [False, True])
def test_a_lost_reply_reaches_the_caller_and_nothing_is_sent_again(in_pipeline: bool, transaction: bool) -> None:
    def add(client: Any) -> Any:
        if not in_pipeline:
            return client.xadd("k", {"number": 1})
        pipe = client.pipeline(transaction=transaction)
        pipe.xadd("k", {"number": 1})
        return pipe.execute()

    with ForgetfulServer() as server, connect(server.url) as client:
        with pytest.raises(OUTAGE):
            add(client)
        assert server.received == ["XADD"]

        async def story(twin: redis.asyncio.Redis) -> None:
            with pytest.raises(OUTAGE):
                await add(twin)

        play(client, story)
        assert server.received == ["XADD", "XADD"]


def test_a_cluster_can_be_used_and_is_described_without_its_login(redis_cluster: RedisCluster) -> None:
    url = redis_cluster.url.replace("://", "://default:secret@")
    with connect(redis_cluster.url) as client, connect(url) as other:
        check_server(client)
        assert describe(other) == describe(client) == f"the cluster {redis_cluster.url.partition('://')[2]}"


def test_a_restricted_user_needs_no_more_than_to_ask_for_the_slots(redis_cluster: RedisCluster, key: str) -> None:
    allowed = ["+@read", "+@write", "+@stream", "+@transaction", "+@connection", "+@blocking", "-@dangerous", "+info"]
    for master in redis_cluster.masters:
        master.ask("ACL", "SETUSER", "robots", "reset", "on", ">secret", "~lab:*", *allowed)
    with connect(redis_cluster.url.replace("://", "://robots:secret@")) as client:
        with pytest.raises(UnsupportedServer, match="cluster"):
            check_server(client)
        for master in redis_cluster.masters:
            master.ask("ACL", "SETUSER", "robots", "+cluster|slots")

        check_server(client)

        assert client.xadd(key, {"number": 1})
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.xlen("of others")


def test_the_doctor_examines_every_master(redis_cluster: RedisCluster) -> None:
    checks = plane_checks(Plane("data", redis_cluster.url, STREAM_TRIALS), robots=6)

    examined = [check.text for check in checks if check.name == "data server"]
    assert len(examined) == 3
    assert all(any(text.endswith(f":{master.port}") for text in examined) for master in redis_cluster.masters)
    assert [check.state for check in checks if check.name == "data rights"] == ["ok"] * 3


def test_neither_is_taken_for_the_other(redis_cluster: RedisCluster, server: EmbeddedServer) -> None:
    member = f"redis://127.0.0.1:{redis_cluster.masters[0].port}"
    with connect(member) as client, pytest.raises(UnsupportedServer, match="one of a Redis Cluster"):
        check_server(client)
    with ForgetfulServer() as silent, connect(silent.url) as client, pytest.raises(UnsupportedServer, match="cluster"):
        check_server(client)
    with pytest.raises(ValueError, match="streams alone"):
        Address(redis_cluster.url, redis_cluster.url).check()
    with Server.at(Address(server.url, redis_cluster.url)) as both:
        both.check()


def test_a_cluster_that_is_not_there_is_an_outage(redis_cluster: RedisCluster) -> None:
    with connect("redis-cluster://127.0.0.1:1,127.0.0.1:2") as client:
        with pytest.raises(RedisError) as refusal:
            client.xlen("k")
        assert is_transient(refusal.value)


async def _maybe(reply: Any) -> Any:
    return await reply if isinstance(reply, Awaitable) else reply
