"""What the facts of one server mean for a run of N robots. Pure: facts in, checks out.

A server may refuse to answer (`CONFIG`), or hide a figure as managed ones do: then the check says what is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from broker.streams.connection import NOT_LET_IN
from broker.streams.inspection import ServerFacts, Trial
from deploy.doctor.check import Check, size
from deploy.doctor.host_checks import BASE_CONNECTIONS, LEAST_ROOM, MIB, ROBOT_CONNECTIONS

CHECKS: Final = ("server", "persistence", "eviction", "maxmemory", "connections", "rights", "clock")
FAR_CLOCK_US: Final = 100_000  # a tick
ROBOT_DATA: Final = 1 * MIB  # that a robot's run has on the server while it goes on

_NO_PERMISSION: Final = "NOPERM"
_OF_COMMAND: Final = "permissions to run"  # else of its key
_UNVERIFIED: Final = re.compile("certificate.verify.failed", re.IGNORECASE)


def server_check(facts: ServerFacts, where: str) -> Check:
    """Which server it is, and whether it can take writes."""
    info = facts.info
    product = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = info.get("valkey_version") or info.get("redis_version") or "of no version"
    text = f"{product} {version} at {where}"
    if _is_on(info, "loading"):
        return Check("server", "fault", f"{text}; it is still loading what it had stored", "wait until it has")
    if info.get("role") in ("slave", "replica"):
        return Check("server", "fault", f"{text}; it is a replica", f"name its master: {_master(info)}")
    return Check("server", "ok", text)


def persistence_check(facts: ServerFacts) -> Check:
    """Whether a server that is killed comes back with what it held."""
    info = facts.info
    if "aof_enabled" not in info:
        return Check(
            "persistence", "warning", "not known: INFO does not show it", "set appendonly yes, appendfsync everysec"
        )
    if not _is_on(info, "aof_enabled"):
        text = "appendonly is off: a server that is killed comes back empty or older, and the run ends as lost"
        return Check("persistence", "warning", text, "set appendonly yes, appendfsync everysec")
    if info.get("aof_last_write_status", "ok") != "ok":
        text = "the last write into the append-only file failed, so writes are refused"
        return Check("persistence", "fault", text, "free room on the server's disk, and see its log")
    if facts.appendfsync is None:
        text = "appendonly yes; appendfsync is not known: this user may not run CONFIG GET"
        return Check("persistence", "warning", text, "see that its configuration has appendfsync everysec")
    text = f"appendonly yes, appendfsync {facts.appendfsync}"
    if facts.appendfsync == "no":
        return Check(
            "persistence", "warning", f"{text}: many seconds may be lost with the machine", "set appendfsync everysec"
        )
    return Check("persistence", "ok", text)


def eviction_check(facts: ServerFacts) -> Check:
    """Whether the server may delete what a run needs."""
    policy = facts.info.get("maxmemory_policy")
    if policy is None:
        text = "not known: INFO does not show maxmemory_policy"
        return Check("eviction", "warning", text, "set maxmemory-policy noeviction")
    if policy == "noeviction":
        return Check("eviction", "ok", "noeviction")
    if facts.info.get("maxmemory") == 0:
        return Check("eviction", "ok", f"{policy}, and without a limit of memory nothing is evicted")
    remedy = "set maxmemory-policy noeviction"
    if str(policy).startswith("volatile"):
        return Check("eviction", "warning", f"{policy}: when its memory is full, the server deletes leases", remedy)
    return Check("eviction", "fault", f"{policy}: when its memory is full, the server deletes streams of a run", remedy)


def maxmemory_check(facts: ServerFacts, robots: int) -> Check:
    """Whether the server's limit leaves room for a run."""
    limit, used = facts.info.get("maxmemory"), facts.info.get("used_memory")
    if limit is None or used is None:
        return Check("maxmemory", "warning", "not known: INFO does not show it", "see that it leaves room for a run")
    if limit == 0:
        return Check("maxmemory", "ok", f"no limit; {size(used)} used")
    need = LEAST_ROOM + ROBOT_DATA * robots
    text = f"{size(max(0, limit - used))} left of {size(limit)}; a run of {robots} robots may need {size(need)}"
    remedy = "raise maxmemory, or remove runs that are over: robots stop RUN --forget"
    if limit <= used:
        return Check("maxmemory", "fault", f"{text}; writes are refused", remedy)
    return Check("maxmemory", "warning", text, remedy) if limit - used < need else Check("maxmemory", "ok", text)


def connections_check(facts: ServerFacts, robots: int) -> Check:
    """Whether the server takes the connections of so many robots."""
    most, open_ = facts.info.get("maxclients"), facts.info.get("connected_clients")
    need = BASE_CONNECTIONS + ROBOT_CONNECTIONS * robots
    if most is None or open_ is None:
        text = f"not known how many are left; {robots} robots need {need}"
        return Check("connections", "warning", text, "see that maxclients is larger")
    text = f"{most - open_} left of {most}; {robots} robots need {need}"
    if most - open_ < need:
        return Check("connections", "fault", text, f"set maxclients {open_ + need}, and its limit of open files")
    return Check("connections", "ok", text)


def rights_check(facts: ServerFacts, trials: Sequence[Trial]) -> Check:
    """Whether the user may run what the lab needs."""
    user, grant = f"user {facts.user}" if facts.user else "this user", f"ACL SETUSER {facts.user or 'USER'}"
    if facts.refused is None:
        text = f"{user} may run no transaction: {facts.refusal}"
        if _NO_PERMISSION not in facts.refusal:  # which does not always begin with it: EXECABORT does
            return Check("rights", "unknown", text, "try again")
        return Check("rights", "fault", text, f"{grant} +@transaction {_keys(trials)}")
    needed = {trial: answer for trial, answer in facts.refused.items() if trial.is_needed}
    for trial, answer in needed.items():
        if not answer.startswith(_NO_PERMISSION):  # it is the server's state: no memory left, read-only
            return Check("rights", "fault", f"the server refuses {_name(trial)}: {answer}", "mend that first")
    if needed:
        text = f"{user} may not {_lacking(needed)}"
        return Check("rights", "fault", text, f"{grant} {_grants(needed)}")
    text = f"{user} may run all that a run needs on {_keys(trials).replace('~', '')}"
    lacking = {trial: answer for trial, answer in facts.refused.items() if answer.startswith(_NO_PERMISSION)}
    if lacking:
        return Check(
            "rights", "warning", f"{text}; less is shown without {_names(lacking)}", f"{grant} {_grants(lacking)}"
        )
    return Check("rights", "ok", text)


def clock_check(facts: ServerFacts) -> Check:
    """This host's clock against the server's."""
    ahead_ms, off_ms = facts.ahead_us / 1000, facts.uncertainty_us / 1000
    side = "behind" if ahead_ms > 0 else "ahead of"
    text = f"this host is {abs(ahead_ms):.1f} ms {side} the server (± {off_ms:.1f} ms)"
    if abs(facts.ahead_us) - facts.uncertainty_us > FAR_CLOCK_US:
        return Check("clock", "warning", f"{text}; times of events are corrected by that", "let NTP set both clocks")
    if facts.uncertainty_us > FAR_CLOCK_US:
        return Check(
            "clock",
            "warning",
            f"{text}; the server is far away for a tick of 100 ms",
            "take a nearer server, or --tick 1s",
        )
    return Check("clock", "ok", text)


def checks_of(facts: ServerFacts, where: str, trials: Sequence[Trial], robots: int) -> list[Check]:
    """All checks of one server, in the order of CHECKS."""
    return [
        server_check(facts, where),
        persistence_check(facts),
        eviction_check(facts),
        maxmemory_check(facts, robots),
        connections_check(facts, robots),
        rights_check(facts, trials),
        clock_check(facts),
    ]


def unreachable(trouble: str, plane: str) -> list[Check]:
    """The checks of a server that could not be reached."""
    first = Check("server", "fault", trouble, _remedy(trouble, f"--{plane or 'redis'}-url"))
    others = [Check(name, "unknown", "the server was not reached") for name in CHECKS[1:]]
    return on_plane([first, *others], plane)


def _remedy(trouble: str, option: str) -> str:
    """What mends it. OpenSSL tells only by its text what it did not accept."""
    if NOT_LET_IN in trouble:
        return f"see the user in {option}; the password's file: --redis-password-file or ROBOTS_REDIS_PASSWORD_FILE"
    if not _UNVERIFIED.search(trouble):
        return f"see {option}, the server, and the network between"
    if "mismatch" in trouble:
        return f"name the host in {option} as the server's certificate does"
    if "expired" in trouble:
        return "renew the server's certificate, and see this host's clock"
    return f"name the certificate of its authority in {option}: rediss://HOST:PORT?ssl_ca_certs=/path/ca.crt"


def on_plane(checks: Iterable[Check], plane: str) -> list[Check]:
    """The same checks with the name of a plane; with none, as they are."""
    return [msgspec.structs.replace(check, name=f"{plane} {check.name}".strip()) for check in checks]


def _is_on(info: Mapping[str, Any], name: str) -> bool:
    return str(info.get(name, 0)) not in ("0", "no")


def _master(info: Mapping[str, Any]) -> str:
    return f"{info.get('master_host', 'not known')}:{info.get('master_port', '')}".rstrip(":")


def _lacking(refused: Mapping[Trial, str]) -> str:
    """What the user may not do: use keys at all, or run commands on them."""
    keys = _keys(trial for trial, answer in refused.items() if _OF_COMMAND not in answer).replace("~", "")
    commands = _names(trial for trial, answer in refused.items() if _OF_COMMAND in answer)
    return " or ".join([*(f"use {name}" for name in [keys] if name), *(f"run {name}" for name in [commands] if name)])


def _names(trials: Iterable[Trial]) -> str:
    return ", ".join(sorted({_name(trial) for trial in trials}))


def _name(trial: Trial) -> str:
    key = f" on {_pattern(trial)}" if "KEY" in trial.command else ""
    return f"{trial.rule.replace('|', ' ')}{key}"


def _keys(trials: Iterable[Trial]) -> str:
    return " ".join(sorted({f"~{_pattern(trial)}" for trial in trials}))


def _grants(refused: Mapping[Trial, str]) -> str:
    """The rules that allow them. The server's answer says whether the command was refused, or only its key."""
    keys = _keys(trial for trial, answer in refused.items() if _OF_COMMAND not in answer)
    commands = {f"+{trial.rule}" for trial, answer in refused.items() if _OF_COMMAND in answer}
    return " ".join([*filter(None, [keys]), *sorted(commands)])


def _pattern(trial: Trial) -> str:
    return re.sub(r":.*", ":*", trial.key)
