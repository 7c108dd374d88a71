"""All ports of one life over streams, made from one client."""

from __future__ import annotations

import redis.asyncio

from broker.envelope import shard_of
from broker.ports.robot import Ports
from broker.streams.keys import Keys
from broker.streams.retry import RETRY_S
from broker.streams.robot.journal import StreamJournal
from broker.streams.robot.mail import OUTBOX_LIMIT, StreamInbox, StreamOutbox
from broker.streams.robot.register import StreamRegister
from broker.streams.run.fleet_log import StreamFleetReader
from broker.streams.run.runs import StreamOrders


def ports_for(
    client: redis.asyncio.Redis,
    run: str,
    robot: str,
    nonce: str,
    shards: int,
    *,
    outbox_limit: int = OUTBOX_LIMIT,
    retry_s: float = RETRY_S,
) -> Ports:
    """The ports of the life `nonce` of `robot`. `client` must be one of connection.py; it stays the caller's to close.
    A port that must know what is stored retries for `retry_s` before it raises Unavailable."""
    keys = Keys(run)
    return Ports(
        outbox=StreamOutbox(client, keys.outbox(shard_of(robot, shards)), outbox_limit, retry_s),
        inbox=StreamInbox(client, keys.inbox(robot), keys.journal(robot)),
        journal=StreamJournal(client, keys.journal(robot), nonce, retry_s),
        register=StreamRegister(client, keys, robot, nonce, retry_s),
        orders=StreamOrders(client, keys.orders),
        fleet=StreamFleetReader(client, keys.fleet, retry_s),
    )
