"""Which server of a cluster a command belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ClusterDownError, MovedError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from broker.streams.keys import RUNS, Keys
from broker.streams.slots import Topology, by_server, key_in, slot_of

A, B, C = ("a", 1), ("b", 2), ("c", 3)


def slots(*parts: tuple[int, int, tuple[str, int], *tuple[tuple[str, int], ...]]) -> list[Any]:
    """A reply to CLUSTER SLOTS."""
    return [
        [first, last, *([host.encode(), port, b"id", []] for host, port in servers)] for first, last, *servers in parts
    ]


def known(*named: tuple[str, int]) -> Topology:
    topology = Topology(named or (A,))
    topology.learn(slots((0, 8000, A, C), (8001, 16383, B)), A)
    return topology


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("XADD", "k", b"*", b"f", b"v"), "k"),
        (("XGROUP CREATE", "k", "group", "0"), "k"),
        (("XINFO STREAM", b"k"), b"k"),
        (("XREAD", b"BLOCK", b"10", b"STREAMS", "k", "0"), "k"),
        (("XREADGROUP", b"GROUP", "g", "c", b"STREAMS", "k", ">"), "k"),
        (("WATCH", "k", "other"), "k"),
        (("TIME",), None),
        (("INFO", "server"), None),
        (("CLIENT ID",), None),
        (("WAITAOF", 1, 0, 100), None),
    ],
)
def test_a_command_belongs_to_its_first_key(command: tuple[Any, ...], key: str | bytes | None) -> None:
    assert key_in(command) == key


def test_what_one_command_or_transaction_touches_is_in_one_slot() -> None:
    keys = Keys("7b08e1")
    run = {keys.orders, keys.requests, keys.supervisor, keys.register, keys.birth("r00"), keys.commands("r01")}
    shard = {keys.outbox(0), keys.control(0), keys.fates(0), keys.lease(0)}

    assert len({slot_of(key) for key in run}) == 1
    assert len({slot_of(key) for key in shard}) == 1
    # And what need not lie together is spread
    apart = [keys.orders, keys.outbox(0), keys.outbox(1), keys.inbox("r00"), keys.inbox("r01"), RUNS]
    assert len({slot_of(key) for key in apart}) == len(apart)


def test_a_key_belongs_to_the_master_of_its_slot() -> None:
    topology = known()
    assert (slot_of("bar"), slot_of("foo")) == (5061, 12182)  # as the specification counts

    assert (topology.owner("bar"), topology.owner(b"foo")) == (A, B)
    assert topology.owner(None) == A
    assert topology.masters == (A, B)


def test_a_server_without_a_name_is_the_one_that_was_asked() -> None:
    topology = Topology([A])
    topology.learn([[0, 16383, [b"", 9, b"id"]]], B)

    assert topology.owner("k") == ("b", 9)


def test_a_slot_that_no_server_holds_is_refused_as_the_cluster_would() -> None:
    topology = Topology([A])
    topology.learn(slots((0, 0, A)), A)

    with pytest.raises(ClusterDownError, match="CLUSTERDOWN no server"):
        topology.owner("k")


def test_of_many_servers_the_one_that_failed_is_asked_last() -> None:
    # Given a cluster that was learnt from its first server
    topology = known(A, ("named", 1))
    # When another does not answer
    topology.note(RedisConnectionError("gone"), C)
    # Then it is asked after all that were seen, and the named ones are not forgotten
    assert not topology.is_known
    assert topology.to_ask() == (B, A, C, ("named", 1))


@pytest.mark.parametrize(
    ("error", "is_known"), [(MovedError("1 b:2"), False), (ClusterDownError("x"), False), (ResponseError("x"), True)]
)
def test_only_some_errors_show_that_masters_may_be_others(error: ResponseError, is_known: bool) -> None:
    topology = known()
    topology.note(error, A)
    assert topology.is_known is is_known


def test_a_pipeline_is_split_by_servers_and_keyless_commands_follow() -> None:
    owners = {"x": A, "y": B, None: C}
    commands: list[tuple[Any, ...]] = [("GET", "x"), ("TIME",), ("GET", "y"), ("TIME",), ("GET", "x")]

    assert by_server(commands, lambda key: owners[key]) == {A: [0, 1, 4], B: [2, 3]}
    assert by_server([("PING",)], lambda key: owners[key]) == {C: [0]}
