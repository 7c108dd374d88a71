"""What the facts of a server mean for a run. Also: what a server does not say is never called ok without a word."""

from __future__ import annotations

from typing import Any

import pytest

from broker.streams.connection import NOT_LET_IN
from broker.streams.inspection import STREAM_TRIALS, ServerFacts, Trial
from deploy.doctor import server_checks as checks
from deploy.doctor.host_checks import BASE_CONNECTIONS, LEAST_ROOM, MIB, ROBOT_CONNECTIONS
from deploy.rq.rights import RQ_TRIALS

TRIALS = (*RQ_TRIALS, *STREAM_TRIALS)
INFO = {
    "redis_version": "7.2.4",
    "role": "master",
    "loading": 0,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "maxmemory_policy": "noeviction",
    "maxmemory": 0,
    "used_memory": 5 * MIB,
    "maxclients": 10_000,
    "connected_clients": 3,
}


def facts(
    *,
    without: str = "",
    appendfsync: str | None = "everysec",
    user: str | None = "robots",
    clock: tuple[int, int] = (0, 100),
    refused: dict[Trial, str] | None = None,
    refusal: str = "",
    **info: Any,
) -> ServerFacts:
    known = {name: value for name, value in {**INFO, **info}.items() if name != without}
    return ServerFacts(known, appendfsync, user, *clock, None if refusal else refused or {}, refusal)


def trial(command: str) -> Trial:
    [found] = [each for each in TRIALS if each.command.startswith(f"{command} KEY") or each.command == command][:1]
    return found


def test_a_server_with_all_that_is_needed_is_ok() -> None:
    found = checks.checks_of(facts(), "h:6379", TRIALS, 6)

    assert [check.name for check in found] == list(checks.CHECKS)
    assert {check.state for check in found} == {"ok"}
    assert {check.remedy for check in found} == {""}


@pytest.mark.parametrize(
    ("info", "state", "text"),
    [
        ({}, "ok", "Redis 7.2.4 at h"),
        ({"server_name": "valkey", "valkey_version": "9.1.2"}, "ok", "Valkey 9.1.2 at h"),
        ({"loading": 1}, "fault", "loading"),
        ({"role": "slave", "master_host": "m", "master_port": 6380}, "fault", "it is a replica"),
    ],
)
def test_a_server_must_take_writes(info: dict[str, Any], state: str, text: str) -> None:
    check = checks.server_check(facts(**info), "h")

    assert check.state == state
    assert text in check.text


def test_the_remedy_for_a_replica_is_its_master() -> None:
    check = checks.server_check(facts(role="slave", master_host="m", master_port=6380), "h")

    assert check.remedy == "name its master: m:6380"


@pytest.mark.parametrize(
    ("given", "state", "text"),
    [
        (facts(), "ok", "appendonly yes, appendfsync everysec"),
        (facts(appendfsync="always"), "ok", "appendfsync always"),
        (facts(appendfsync="no"), "warning", "appendfsync no"),
        (facts(appendfsync=None), "warning", "appendfsync is not known: this user may not run CONFIG GET"),
        (facts(aof_enabled=0), "warning", "appendonly is off"),
        (facts(aof_enabled=0, appendfsync=None), "warning", "appendonly is off"),
        (facts(aof_last_write_status="err"), "fault", "the last write into the append-only file failed"),
        (facts(without="aof_enabled"), "warning", "not known"),
    ],
)
def test_persistence_is_judged_by_what_is_known_of_it(given: ServerFacts, state: str, text: str) -> None:
    check = checks.persistence_check(given)

    assert check.state == state
    assert text in check.text
    assert bool(check.remedy) == (state != "ok")


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (facts(), "ok"),
        (facts(maxmemory_policy="allkeys-lru", maxmemory=MIB), "fault"),
        (facts(maxmemory_policy="volatile-ttl", maxmemory=MIB), "warning"),
        (facts(maxmemory_policy="allkeys-lru", maxmemory=0), "ok"),
        (facts(maxmemory_policy="allkeys-lru", without="maxmemory"), "fault"),
        (facts(without="maxmemory_policy"), "warning"),
    ],
)
def test_a_server_must_not_delete_what_a_run_needs(given: ServerFacts, state: str) -> None:
    check = checks.eviction_check(given)

    assert check.state == state
    assert ("noeviction" in check.remedy) == (state != "ok")


NEED = LEAST_ROOM + 6 * checks.ROBOT_DATA


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (facts(), "ok"),
        (facts(maxmemory=5 * MIB + NEED), "ok"),
        (facts(maxmemory=5 * MIB + NEED - 1), "warning"),
        (facts(maxmemory=5 * MIB), "fault"),
        (facts(without="used_memory", maxmemory=5), "warning"),
        (facts(without="maxmemory"), "warning"),
    ],
)
def test_the_servers_limit_of_memory_must_leave_room(given: ServerFacts, state: str) -> None:
    check = checks.maxmemory_check(given, 6)

    assert check.state == state
    assert bool(check.remedy) == (state != "ok")


CLIENTS = BASE_CONNECTIONS + 50 * ROBOT_CONNECTIONS


@pytest.mark.parametrize(
    ("given", "state", "remedy"),
    [
        (facts(maxclients=3 + CLIENTS), "ok", ""),
        (facts(maxclients=3 + CLIENTS - 1), "fault", f"set maxclients {3 + CLIENTS}"),
        (facts(without="maxclients"), "warning", "see that maxclients is larger"),
    ],
)
def test_the_server_must_take_the_connections_of_so_many_robots(given: ServerFacts, state: str, remedy: str) -> None:
    check = checks.connections_check(given, 50)

    assert check.state == state
    assert check.remedy.startswith(remedy)


NO_COMMAND = "NOPERM User monkey has no permissions to run the 'x' command"
NO_KEY = "NOPERM No permissions to access a key"
OLD_NO_KEY = "NOPERM this user has no permissions to access one of the keys used as arguments"


@pytest.mark.parametrize(
    ("given", "state", "text", "remedy"),
    [
        (facts(), "ok", "user robots may run all that a run needs on lab:* rq:*", ""),
        (facts(user=None), "ok", "this user may run all that a run needs", ""),
        (
            facts(refused={trial("XADD"): NO_COMMAND, trial("XINFO STREAM"): NO_COMMAND}),
            *("fault", "user robots may not run xadd on lab:*, xinfo stream on lab:*"),
            "ACL SETUSER robots +xadd +xinfo|stream",
        ),
        (
            facts(user=None, refused={trial("LPUSH"): OLD_NO_KEY, trial("LREM"): NO_KEY}),
            *("fault", "this user may not use rq:*"),
            "ACL SETUSER USER ~rq:*",
        ),
        (
            facts(refused={trial("LPUSH"): NO_KEY, trial("XADD"): NO_COMMAND}),
            *("fault", "user robots may not use rq:* or run xadd on lab:*"),
            "ACL SETUSER robots ~rq:* +xadd",
        ),
        (
            facts(refused={trial("WAITAOF 1 0 1"): NO_COMMAND, trial("CLIENT SETNAME doctor"): NO_COMMAND}),
            *("warning", "less is shown without client setname, waitaof"),
            "ACL SETUSER robots +client|setname +waitaof",
        ),
        (  # a server before Redis 7.2 has no WAITAOF: nothing to mend
            facts(refused={trial("WAITAOF 1 0 1"): "ERR unknown command 'WAITAOF', with args"}),
            *("ok", "user robots may run all that a run needs", ""),
        ),
        (
            facts(refused={trial("XADD"): "OOM command not allowed when used memory > 'maxmemory'."}),
            *("fault", "the server refuses xadd on lab:*: OOM", "mend that first"),
        ),
        (
            facts(refused={trial("HSET"): NO_COMMAND, trial("XADD"): "READONLY You can't write against a replica."}),
            *("fault", "the server refuses xadd on lab:*: READONLY", "mend that first"),
        ),
        (
            facts(refusal="NOPERM User robots has no permissions to run the 'multi' command"),
            *("fault", "user robots may run no transaction: NOPERM"),
            "ACL SETUSER robots +@transaction ~lab:* ~rq:*",
        ),
        (
            facts(refusal="EXECABORT Transaction discarded because of: NOPERM User robots has no permissions"),
            *("fault", "user robots may run no transaction: EXECABORT"),
            "ACL SETUSER robots +@transaction ~lab:* ~rq:*",
        ),
        (
            facts(refusal="ERR unknown command 'MULTI'"),
            *("unknown", "user robots may run no transaction: ERR", "try again"),
        ),
    ],
)
def test_rights_that_lack_are_named_with_the_rule_that_grants_them(
    given: ServerFacts, state: str, text: str, remedy: str
) -> None:
    check = checks.rights_check(given, TRIALS)

    assert check.state == state
    assert text in check.text
    assert check.remedy == remedy


@pytest.mark.parametrize(
    ("clock", "state", "text"),
    [
        ((0, 90), "ok", "0.0 ms ahead of the server (± 0.1 ms)"),
        ((4_000, 300), "ok", "4.0 ms behind the server (± 0.3 ms)"),
        ((-99_000, 500), "ok", "99.0 ms ahead of the server"),
        ((150_000, 1_000), "warning", "150.0 ms behind"),
        ((-3_600_000_000, 1_000), "warning", "3600000.0 ms ahead of"),
        ((150_000, 80_000), "ok", "150.0 ms behind"),  # it may be right: that is not known
        ((0, 300_000), "warning", "the server is far away"),
    ],
)
def test_a_clock_is_wrong_only_beyond_what_the_round_trip_leaves_open(
    clock: tuple[int, int], state: str, text: str
) -> None:
    check = checks.clock_check(facts(clock=clock))

    assert check.state == state
    assert text in check.text


def test_the_checks_of_a_server_that_is_not_reached_are_not_known() -> None:
    first, *others = checks.unreachable("no usable server at h:1: refused", "")

    assert (first.name, first.state) == ("server", "fault")
    assert [check.name for check in others] == list(checks.CHECKS[1:])
    assert {check.state for check in others} == {"unknown"}


FAILED = "no usable server at h:1: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "


@pytest.mark.parametrize(
    ("trouble", "remedy"),
    [
        (f"the server at h:1 {NOT_LET_IN}: Authentication required.", "--redis-password-file"),
        (f"the server at h:1 {NOT_LET_IN}: invalid username-password pair", "ROBOTS_REDIS_PASSWORD_FILE"),
        (f"{FAILED}self-signed certificate in certificate chain (_ssl.c:1006)", "rediss://HOST:PORT?ssl_ca_certs="),
        (f"{FAILED}unable to get local issuer certificate (_ssl.c:1006)", "rediss://HOST:PORT?ssl_ca_certs="),
        (f"{FAILED}IP address mismatch, certificate is not valid for '10.0.0.1'", "name the host in --data-url"),
        (f"{FAILED}certificate has expired (_ssl.c:1006)", "renew the server's certificate"),
        ("no usable server at h:1: Error 111 connecting to h:1. Connection refused.", "see --data-url, the server"),
    ],
)
def test_what_mends_a_server_that_is_not_reached_depends_on_why(trouble: str, remedy: str) -> None:
    first = checks.unreachable(trouble, "data")[0]

    assert remedy in first.remedy


def test_checks_of_two_planes_have_two_names() -> None:
    names = [check.name for check in checks.unreachable("x", "data")]

    assert names == [f"data {name}" for name in checks.CHECKS]
