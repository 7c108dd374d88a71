"""The processes of a run that are no robots, as its server shows them: relays and the supervisor by their leases, and
the server itself. It only reads, and asks each question once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec
from redis.exceptions import RedisError

from broker.streams.connection import ControlClient, DataClient, Server, describe, servers_of
from broker.streams.relay.lease import LEASE_MS
from broker.streams.retry import retry_blocking
from broker.streams.run.probes import ping_all, relay_lease_left_ms, relay_of
from broker.streams.run.supervisor_lease import Leader
from deploy.attach.holders import Holder, holder_in

SUPERVISOR: Final = "supervisor"

ProcessState = Literal["running", "paused", "stale", "missing"]


class ProcessSeen(msgspec.Struct, frozen=True):
    """A relay, the supervisor or a server (`process`). `running`: it gave its last sign `sign_s` ago, in time; `paused`
    by a fault; `stale`: its lease ran out; `missing`: there is none. `holder` is the token by which it holds its lease;
    of a server its version. `host` and `pid` are where it is, as far as that is known."""

    process: str
    state: ProcessState
    holder: str = ""
    host: str = ""
    pid: int | None = None
    sign_s: float | None = None


def relays_of(client: DataClient, run: str, shards: int, paused: Collection[str] = ()) -> list[ProcessSeen]:
    """The relay of each shard. `paused`: the names of processes that a fault has stopped. Raises Unavailable."""
    return [_relay(client, run, shard, paused) for shard in range(shards)]


def _relay(client: DataClient, run: str, shard: int, paused: Collection[str]) -> ProcessSeen:
    name = f"relay:{shard}"
    left_ms, token = relay_lease_left_ms(client, run, shard), relay_of(client, run, shard)
    if token is None:
        return ProcessSeen(name, "paused" if name in paused else "missing")
    where = holder_in(token)
    state: ProcessState = "paused" if name in paused else "running"
    return ProcessSeen(name, state, token, where.host, where.pid, round(max(0, LEASE_MS - left_ms) / 1000, 1))


def count_relays(client: DataClient, run: str, shards: int) -> int:
    """How many of the shards have a relay. Raises Unavailable."""
    return sum(relay_lease_left_ms(client, run, shard) > 0 for shard in range(shards))


def supervisor_in(leader: Leader | None) -> ProcessSeen:
    """The supervisor that a run's lease names: the one that leads, or led last."""
    if leader is None or leader.has_left:
        return ProcessSeen(SUPERVISOR, "missing")
    where: Holder = holder_in(leader.holder)
    state: ProcessState = "stale" if leader.is_stale else "running"
    return ProcessSeen(SUPERVISOR, state, leader.holder, where.host, where.pid, round(leader.age_us / 1e6, 1))


def seen_servers(server: Server) -> list[ProcessSeen]:
    """The server, or those of its two planes. Raises Unavailable."""
    if server.control is server.data:
        return [_server("server", server.data)]
    masters = retry_blocking("servers", lambda: servers_of(server.data), retry_s=0)
    return [_server("server of RQ", server.control), *(_server("server of streams", master) for master in masters)]


def _server(name: str, client: ControlClient | DataClient) -> ProcessSeen:
    ping_all(client)
    answer: Mapping[str, Any] = {}
    with suppress(RedisError):  # a user of the server may not be allowed to ask
        answer = client.info("server")
    kind = str(answer.get("server_name") or "redis")
    version = answer.get(f"{kind}_version") or answer.get("redis_version")
    pid = answer.get("process_id")
    known_pid = pid if isinstance(pid, int) else None
    return ProcessSeen(name, "running", f"{kind} {version}" * bool(version), describe(client), known_pid, 0.0)
