"""A run that is removed while its processes still write: whatever the moment, nothing stays on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
import redis

from broker.control_entries import PlanChange
from broker.errors import Fenced, JournalLost, RegisterLost, RunGone, Unavailable
from broker.ports.robot import Ports
from broker.streams.connection import connect, connect_async
from broker.streams.embedded import EmbeddedServer
from broker.streams.keys import RUNS, Keys
from broker.streams.robot.ports import ports_for
from broker.streams.run.control import StreamRunControl
from broker.streams.run.events import BlockingEventLog
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.injection import StreamInjection, send_command
from broker.streams.run.plan_log import StreamRequests
from broker.streams.run.supervisor_lease import SupervisorLease
from tests.broker.streams.relay_lab import STORMY, Shard
from tests.support.port_labs import run_spec
from tests.support.waiting import await_true

GONE = (RunGone, Unavailable, Fenced, JournalLost, RegisterLost)
run_numbers = count()

Write = Callable[[redis.Redis, str], object]


def _admit(client: redis.Redis, run: str) -> None:
    StreamRunControl(client, run, retry_s=0).admit("r02", [b"header"])


def _admit_twice(client: redis.Redis, run: str) -> None:
    with suppress(*GONE):
        _admit(client, run)
    _admit(client, run)


def _insert_copies(client: redis.Redis, run: str) -> None:
    for robot in ("r00", "r07"):
        StreamInjection(client, run).insert_copy(robot, b"frame")


WRITERS: dict[str, Write] = {
    "a robot is admitted": _admit,
    "a robot is admitted, and again by the next leader": _admit_twice,
    "an order": lambda client, run: StreamRunControl(client, run, retry_s=0).order("go"),
    "a plan change": lambda client, run: StreamRunControl(client, run, retry_s=0).change(PlanChange(())),
    "a request": lambda client, run: StreamRequests(client, run, retry_s=0).add("heal"),
    "a command": lambda client, run: send_command(client, run, "r00", "kill r00"),
    "the supervisors' lease": lambda client, run: SupervisorLease(client, run, "me").hold(None),
    "a death": lambda client, run: StreamFleetLog(client, run, retry_s=0).death("r00", "r00", 1, "exit", 1),
    "an order to crash": lambda client, run: StreamInjection(client, run).order_crash("r00/inbox_reader"),
    "a copy past the relays": _insert_copies,
    "events": lambda client, run: BlockingEventLog(client, Keys(run).events).append(b"frame"),
}


async def _be_born(ports: Ports) -> None:
    await ports.journal.append(1, [b"born"])
    await ports.register.announce_birth(1)


async def _read_mail(ports: Ports) -> None:
    await ports.inbox.receive(1, 0)


async def _keep_reading_mail(ports: Ports) -> None:
    await ports.inbox.receive(1, 0)
    with suppress(Unavailable):
        await ports.inbox.receive(1, 1000)
    await ports.inbox.receive(1, 1000)


async def _write_the_secret(ports: Ports) -> None:
    await ports.register.announce_birth(1)
    await ports.register.write(b"secret")


async def _send(ports: Ports) -> None:
    await ports.outbox.send(b"frame")
    await ports.outbox.send(b"frame")


async def _restore(ports: Ports) -> None:
    await _be_born(ports)
    await ports.journal.restore()
    await ports.register.restore_birth()


ROBOTS: dict[str, Callable[[Ports], Awaitable[None]]] = {
    "a birth": _be_born,
    "the first mail": _read_mail,
    "mail": _keep_reading_mail,
    "the secret": _write_the_secret,
    "envelopes": _send,
    "what a server forgot": _restore,
}


def live_by(life: Callable[[Ports], Awaitable[None]], url: str) -> Write:
    """The life of a robot as a writer: its own client is hooked like the other's."""

    def write(client: redis.Redis, run: str) -> None:
        async def whole() -> None:
            mine = connect_async(url)
            hook_async(mine, client.before)  # type: ignore[attr-defined]
            try:
                await life(ports_for(mine, run, "r00", "nonce", 2, retry_s=0))
            finally:
                await mine.aclose()

        asyncio.run(whole())

    return write


def hook(client: redis.Redis, before: Callable[[], None]) -> redis.Redis:
    """Have `before` called before each sending of a client."""
    client.before = before  # type: ignore[attr-defined]
    pool = client.connection_pool
    take = pool.get_connection

    def get_connection(*args: Any, **options: Any) -> Any:
        connection = take(*args, **options)
        if "send_packed_command" not in vars(connection):
            send = connection.send_packed_command

            def send_after(*sent: Any, **how: Any) -> None:
                before()
                send(*sent, **how)

            connection.send_packed_command = send_after
        return connection

    pool.get_connection = get_connection
    return client


def hook_async(client: Any, before: Callable[[], None]) -> None:
    pool = client.connection_pool
    take = pool.get_connection

    async def get_connection(*args: Any, **options: Any) -> Any:
        connection = await take(*args, **options)
        if "send_packed_command" not in vars(connection):
            send = connection.send_packed_command

            async def send_after(*sent: Any, **how: Any) -> None:
                before()
                await send(*sent, **how)

            connection.send_packed_command = send_after
        return connection

    pool.get_connection = get_connection


class Moment:
    """Does something before the n-th sending, once."""

    def __init__(self, number: int, do: Callable[[], object]) -> None:
        self.left = number
        self._do = do

    def __call__(self) -> None:
        self.left -= 1
        if self.left == -1:
            self._do()

    @property
    def came(self) -> bool:
        return self.left < 0


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedServer]:
    """A server on which nothing else is."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def client(own_server: EmbeddedServer) -> Iterator[redis.Redis]:
    with connect(own_server.url) as client:
        client.flushall()
        yield client


def dealt(client: redis.Redis) -> str:
    run = f"{next(run_numbers):06x}"
    StreamRunControl(client, run).deal(run_spec(run, ("r00", "r01")))
    return run


def left_on(client: redis.Redis) -> list[str]:
    return sorted(key.decode() for key in client.scan_iter("lab:*"))


def all_writers(url: str) -> dict[str, Write]:
    return WRITERS | {name: live_by(life, url) for name, life in ROBOTS.items()}


@pytest.mark.parametrize("writer", [*WRITERS, *ROBOTS])
def test_nothing_stays_of_a_run_that_is_removed_before_any_command_of_a_writer(
    own_server: EmbeddedServer, client: redis.Redis, writer: str
) -> None:
    write, moments = all_writers(own_server.url)[writer], 0
    for number in count():
        # Given a run that is removed just before the n-th command of a process that writes
        run = dealt(client)
        moment = Moment(number, StreamRunControl(client, run).forget)
        with hook(connect(own_server.url), moment) as writing, suppress(*GONE):
            write(writing, run)
        if not moment.came:
            break
        # Then nothing of it is there, when all have ended
        assert left_on(client) == [], f"before command {number}"
        moments += 1
    # And the run that was not removed is there
    assert moments > 0
    assert Keys(run).orders in left_on(client)


@pytest.mark.parametrize("writer", [*WRITERS, *ROBOTS])
def test_nothing_stays_of_what_is_written_before_any_command_of_a_removal(
    own_server: EmbeddedServer, client: redis.Redis, writer: str
) -> None:
    write = all_writers(own_server.url)[writer]

    def write_now() -> None:
        with hook(connect(own_server.url), lambda: None) as writing, suppress(*GONE):
            write(writing, run)

    for number in count():
        # Given a process that writes just before the n-th command of a removal
        run = dealt(client)
        moment = Moment(number, write_now)
        with hook(connect(own_server.url), moment) as removing:
            StreamRunControl(removing, run).forget()
        # Then nothing of the run is there
        assert left_on(client) == [], f"before command {number}"
        if not moment.came:
            break
    assert number > 5


def test_a_removal_that_was_cut_short_is_finished_by_the_next(own_server: EmbeddedServer, client: redis.Redis) -> None:
    class Killed(Exception):
        pass

    def die() -> None:
        raise Killed

    for number in count():
        # Given a run with one that joined and one that was about to, whose removal was cut short
        run = dealt(client)
        _admit(client, run)
        client.xadd(Keys(run).orders, {"order": b"joining", "content": b"r03"})
        client.xadd(Keys(run).journal("r03"), {"entry": b"header", "nonce": b""})
        moment = Moment(number, die)
        with hook(connect(own_server.url), moment) as removing, suppress(Killed):
            StreamRunControl(removing, run).forget()
        # When another process removes it
        StreamRunControl(client, run).forget()
        # Then all of it is gone
        assert left_on(client) == []
        if not moment.came:
            break
    assert number > 5


def test_a_run_that_was_dealt_in_part_is_removed_by_its_dealer(own_server: EmbeddedServer, client: redis.Redis) -> None:
    for number in count():
        # Given a dealer whose deal failed at the n-th command
        run = f"{next(run_numbers):06x}"

        def fail() -> None:
            raise redis.exceptions.ConnectionError

        moment = Moment(number, fail)
        with hook(connect(own_server.url), moment) as dealing:
            run_control = StreamRunControl(dealing, run, retry_s=0)
            with suppress(Unavailable):
                run_control.deal(run_spec(run, ("r00", "r01")))
            is_whole, moment.left = not moment.came, -1
            # When it removes what there is
            run_control.forget()
        # Then nothing is there
        assert left_on(client) == []
        if is_whole:
            break
    assert number > 10


@pytest.mark.parametrize("point", ["taken", "noted", "put-out", "acked", "holding"])
def test_nothing_stays_of_a_run_that_is_removed_while_its_relay_works(
    own_server: EmbeddedServer, client: redis.Redis, point: str
) -> None:
    # Given a relay at work, whose run is removed at a certain point of a step
    shard = Shard(own_server.url, *(("delay 50s",) if point == "holding" else STORMY), shards=2)
    shard.send(40)
    removed: list[str] = []

    def remove(at: str) -> None:
        if at == point and not removed:
            removed.append(at)
            shard.run_control.forget()

    # When it goes on
    with pytest.raises(Unavailable):
        shard.relay(failpoint=remove).run(lambda: False)
    # Then it ends, and nothing of the run is there, once its lease has run out
    assert removed
    await_true(lambda: left_on(client) == [])


def test_a_relay_that_comes_after_a_removal_makes_nothing(own_server: EmbeddedServer, client: redis.Redis) -> None:
    shard = Shard(own_server.url)
    shard.run_control.forget()
    with pytest.raises(Unavailable):
        shard.relay().run(lambda: False)
    await_true(lambda: left_on(client) == [])


def test_a_copy_for_a_robot_that_the_run_does_not_have_makes_no_inbox(
    own_server: EmbeddedServer, client: redis.Redis
) -> None:
    # Given an envelope for a receiver that somebody invented
    shard = Shard(own_server.url)
    shard.send(3, receiver="r77")
    # When it is relayed
    shard.drain()
    # Then nothing stays of the run after its removal
    shard.run_control.forget()
    await_true(lambda: left_on(client) == [])


def test_a_removed_run_is_on_no_list(client: redis.Redis) -> None:
    run = dealt(client)
    assert client.zrange(RUNS, 0, -1) == [run.encode()]
    StreamRunControl(client, run).forget()
    assert client.exists(RUNS) == 0
