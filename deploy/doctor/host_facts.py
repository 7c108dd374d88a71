"""What this host has for a run: read from the system, judged elsewhere. Nothing is left behind."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from broker.streams.embedded import NoEmbeddedServer, find_binary, short_folder
from deploy.config.host import demand_records
from deploy.errors import UsageError

PROGRAM_S: Final = 3.0  # for a server program to print its version
_NO_LIMIT: Final = 1 << 60  # bytes; version 1 of cgroups writes a number as large instead of none


class PythonFacts(msgspec.Struct, frozen=True):
    """`has_pidfd` is whether this kernel, and what confines this process, let it watch other processes."""

    version: tuple[int, int, int]
    platform: str
    has_pidfd: bool


class ProgramFacts(msgspec.Struct, frozen=True):
    """The server program for a private server: its path, and the first line of `--version`; `trouble` when there is
    none."""

    path: str = ""
    version: str = ""
    trouble: str = ""


class PlaceFacts(msgspec.Struct, frozen=True):
    """A folder: bytes that are free in it; `trouble` when it cannot be used."""

    path: str
    free: int = 0
    trouble: str = ""


class MemoryFacts(msgspec.Struct, frozen=True):
    """Bytes that are available on the host, and those that the tightest limit of a container leaves; None where the
    system does not say, or there is no limit."""

    available: int | None
    left_in_limit: int | None


class TerminalFacts(msgspec.Struct, frozen=True):
    """Standard output: whether it is a terminal, its columns, its encoding, `TERM`, and whether colours are off."""

    is_terminal: bool
    columns: int
    encoding: str
    kind: str
    is_without_colours: bool


def python_facts() -> PythonFacts:
    """This interpreter and its system."""
    has_pidfd = False
    with suppress(OSError, AttributeError):
        os.close(os.pidfd_open(os.getpid()))
        has_pidfd = True
    return PythonFacts(sys.version_info[:3], sys.platform, has_pidfd)


def program_facts() -> ProgramFacts:
    """The server program that a private server would be started from."""
    try:
        path = find_binary()
    except NoEmbeddedServer as error:
        return ProgramFacts(trouble=str(error))
    try:
        done = subprocess.run(  # noqa: S603 - the program that a run would start
            [str(path), "--version"], capture_output=True, text=True, timeout=PROGRAM_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return ProgramFacts(str(path), trouble=f"{path} cannot be run: {error}")
    return ProgramFacts(str(path), (done.stdout.splitlines() or [""])[0])


def file_limits() -> tuple[int, int]:
    """How many files a process may have open, and up to how many it may allow itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _finite(soft), _finite(hard)


def temporary_facts() -> PlaceFacts:
    """The folder in which a private server has its data and its socket."""
    try:
        folder = short_folder()
    except NoEmbeddedServer as error:
        return PlaceFacts("", trouble=str(error))
    except OSError as error:
        return PlaceFacts(str(error.filename or ""), trouble=error.strerror or str(error))
    try:
        return PlaceFacts(str(folder.parent), shutil.disk_usage(folder).free)
    finally:
        folder.rmdir()


def runs_facts(runs: Path) -> PlaceFacts:
    """The folder of the records, or that in which it would be made."""
    try:
        demand_records(runs)
    except UsageError as error:
        return PlaceFacts(str(runs), trouble=str(error).removeprefix(f"--runs-dir: {runs}: "))
    place = runs.absolute()
    while not place.exists():
        place = place.parent
    return PlaceFacts(str(runs), shutil.disk_usage(place).free)


def terminal_facts() -> TerminalFacts:
    """Where standard output goes to."""
    out = sys.stdout
    return TerminalFacts(
        is_terminal=out is not None and out.isatty(),
        columns=shutil.get_terminal_size().columns,
        encoding="" if out is None else out.encoding,
        kind=os.environ.get("TERM", ""),
        is_without_colours=bool(os.environ.get("NO_COLOR")),
    )


def memory_facts(root: Path = Path("/")) -> MemoryFacts:
    """The memory of this host, and of the container that this process may be in."""
    available = None
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            available = int(rest.split()[0]) * 1024
    left = [limit - used for limit, used in _limits(root)]
    return MemoryFacts(available, max(0, min(left)) if left else None)


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of memory of each group of processes (cgroup) that this process is in; what the kernel can take
    back from its cache of files is not counted as used."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            base = root / "sys/fs/cgroup/memory"
        else:
            continue
        inner = base / path.lstrip("/")
        for folder in (inner, *inner.parents):
            limit, used = _number(folder / names[0]), _number(folder / names[1])
            if limit is not None and limit < _NO_LIMIT and used is not None:
                yield limit, used - _inactive(folder / "memory.stat", names[2])
            if folder == base:
                break


def _inactive(path: Path, name: str) -> int:
    rows = dict(line.split(maxsplit=1) for line in _text(path).splitlines() if " " in line)
    return int(rows.get(name, 0))


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _finite(limit: int) -> int:
    return _NO_LIMIT if limit == resource.RLIM_INFINITY else limit
