"""What is asked of a real server: what it says of itself, what a user with few rights may do, and that nothing is left
on it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import ResponseError

from broker.streams.connection import connect
from broker.streams.embedded import EmbeddedServer
from broker.streams.inspection import STREAM_TRIALS, Trial, clock_offset, inspect, refusals
from deploy.rq.rights import RQ_TRIALS
from tests.support.checkout import ROOT

TRIALS = (*RQ_TRIALS, *STREAM_TRIALS)


def rules_of(path: str) -> tuple[str, ...]:
    """The rules of the lab's user in a file of users, but for its password."""
    [line] = re.findall(r"^user robots on #\S+ (.*)$", (ROOT / path).read_text(), re.MULTILINE)
    return tuple(line.split())


GOOD = rules_of("deploy/compose/redis/users.acl")


@pytest.fixture
def admin(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        yield client
        client.acl_deluser("robots")
        client.config_set("maxmemory", 0)


def as_user(admin: redis.Redis, server: EmbeddedServer, *rules: str) -> redis.Redis:
    admin.execute_command("ACL", "SETUSER", "robots", "reset", "on", ">secret", *rules)
    return connect(f"{server.url.replace('unix://', 'unix://robots:secret@')}")


def test_a_server_reports_what_it_is_and_how_it_keeps_what_it_holds(admin: redis.Redis) -> None:
    facts = inspect(admin, TRIALS)

    assert (facts.info["aof_enabled"], facts.info["maxmemory_policy"], facts.info["role"]) == (
        1,
        "noeviction",
        "master",
    )
    assert facts.info["maxclients"] > 0
    assert (facts.appendfsync, facts.user) == ("everysec", "default")
    assert facts.refused == {}
    assert abs(facts.ahead_us) <= facts.uncertainty_us + 1_000  # one machine, one clock


def test_nothing_is_written(admin: redis.Redis) -> None:
    before = admin.dbsize(), admin.info("persistence")["rdb_changes_since_last_save"]

    inspect(admin, TRIALS)

    assert (admin.dbsize(), admin.info("persistence")["rdb_changes_since_last_save"]) == before
    assert admin.dbsize() == 0


@pytest.mark.parametrize("path", ["deploy/compose/redis/users.acl", "deploy/k8s/base/redis/users.acl"])
def test_the_user_that_a_deployment_makes_may_do_all_that_is_needed(
    admin: redis.Redis, server: EmbeddedServer, path: str
) -> None:
    with as_user(admin, server, *rules_of(path)) as user:
        facts = inspect(user, TRIALS)

    assert facts.refused == {}
    assert (facts.user, facts.appendfsync) == ("robots", None)  # CONFIG is forbidden, and so not known


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        (("-xadd",), {("XADD", "lab")}),
        (("-xinfo|stream", "-hset"), {("XINFO", "lab"), ("HSET", "lab"), ("HSET", "rq")}),
        (
            ("resetkeys", "~lab:*"),
            {("WATCH", "rq"), *((trial.command.split()[0], "rq") for trial in RQ_TRIALS if "KEY" in trial.command)},
        ),
        (("-client|setname",), {("CLIENT", "rq")}),
        (("-watch",), {("WATCH", "lab"), ("WATCH", "rq")}),
    ],
)
def test_each_right_that_lacks_is_found(
    admin: redis.Redis, server: EmbeddedServer, rules: tuple[str, ...], refused: set[tuple[str, str]]
) -> None:
    with as_user(admin, server, *GOOD, *rules) as user:
        found = refusals(user, TRIALS)

    assert {(trial.command.split()[0], trial.key.partition(":")[0]) for trial in found} == refused
    assert all(answer.startswith("NOPERM") for answer in found.values())
    assert admin.dbsize() == 0


@pytest.mark.parametrize("rule", ["-multi", "-exec", "-discard", "-unwatch"])
def test_where_no_transaction_is_allowed_nothing_is_tried_and_the_reason_is_known(
    admin: redis.Redis, server: EmbeddedServer, rule: str
) -> None:
    with as_user(admin, server, *GOOD, rule) as user:
        facts = inspect(user, TRIALS)
        with pytest.raises(ResponseError):
            refusals(user, TRIALS)

    assert facts.refused is None
    assert "NOPERM" in facts.refusal
    assert admin.dbsize() == 0


def test_a_server_without_memory_left_is_found(admin: redis.Redis) -> None:
    admin.config_set("maxmemory", 1)

    found = refusals(admin, TRIALS)

    answers = {answer for trial, answer in found.items() if trial.command.startswith("XADD")}
    assert {answer.partition(" ")[0] for answer in answers} == {"OOM"}


def test_an_unknown_command_is_refused_alone(admin: redis.Redis) -> None:
    trials = (Trial("NOSUCH KEY", "lab:x", is_needed=False), *STREAM_TRIALS)

    assert [trial.command for trial in refusals(admin, trials)] == ["NOSUCH KEY"]


def test_a_client_that_was_asked_can_be_used_on(admin: redis.Redis) -> None:
    inspect(admin, TRIALS)

    assert admin.ping()
    assert len(admin.client_list()) == 1


def test_the_clock_is_taken_from_the_quickest_answer() -> None:
    # Given a server whose clock is two seconds ahead, and that answers quickly only once
    pauses = iter((0.03, 0.03, 0.0, 0.03, 0.03))

    def server_time() -> tuple[int, int]:
        time.sleep(next(pauses))
        return divmod(time.time_ns() // 1000 + 2_000_000, 1_000_000)

    ahead_us, uncertainty_us = clock_offset(server_time)

    # Then its answer bounds the clock most tightly
    assert uncertainty_us < 15_000
    assert abs(ahead_us - 2_000_000) <= uncertainty_us + 1_000
