"""What is read from a host: from the real one, and from systems that are made up."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path

import pytest

from deploy.doctor import host_facts
from deploy.doctor.host_facts import MemoryFacts, memory_facts

MIB = 1 << 20
MEMINFO = f"MemTotal: 9 kB\nMemFree:  1 kB\nMemAvailable:  {300 * 1024} kB\n"


def system(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "facts"),
    [
        ({}, MemoryFacts(None, None)),
        ({"proc/meminfo": MEMINFO}, MemoryFacts(300 * MIB, None)),
        (  # version 2, in a container that sees its own group as the root
            {
                "proc/meminfo": MEMINFO,
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": f"{100 * MIB}\n",
                "sys/fs/cgroup/memory.current": f"{60 * MIB}\n",
                "sys/fs/cgroup/memory.stat": f"anon 7\ninactive_file {20 * MIB}\n",
            },
            MemoryFacts(300 * MIB, 60 * MIB),
        ),
        (  # version 2, where a group further out has the tighter limit, and the innermost has none
            {
                "proc/self/cgroup": "0::/system.slice/robots.service\n",
                "sys/fs/cgroup/system.slice/robots.service/memory.max": "max\n",
                "sys/fs/cgroup/system.slice/robots.service/memory.current": "5\n",
                "sys/fs/cgroup/system.slice/memory.max": f"{50 * MIB}\n",
                "sys/fs/cgroup/system.slice/memory.current": f"{10 * MIB}\n",
            },
            MemoryFacts(None, 40 * MIB),
        ),
        (  # version 1, whose path is the host's, as a container sees it
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/1\n2:memory:/docker/1\n0::/docker/1\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{64 * MIB}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{30 * MIB}\n",
                "sys/fs/cgroup/memory/memory.stat": f"cache 1\ntotal_inactive_file {6 * MIB}\n",
            },
            MemoryFacts(None, 40 * MIB),
        ),
        (  # version 1 without a limit writes a number that is larger than any memory
            {
                "proc/self/cgroup": "2:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "5\n",
            },
            MemoryFacts(None, None),
        ),
        (  # over its limit, as right before an end by the kernel
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "5\n",
                "sys/fs/cgroup/memory.current": "9\n",
            },
            MemoryFacts(None, 0),
        ),
    ],
)
def test_available_memory_is_that_of_the_host_and_of_the_tightest_limit(
    tmp_path: Path, files: dict[str, str], facts: MemoryFacts
) -> None:
    assert memory_facts(system(tmp_path, files)) == facts


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_facts_of_this_host_are_those_of_the_system() -> None:
    python = host_facts.python_facts()
    assert (python.version, python.platform) == (sys.version_info[:3], sys.platform)
    assert python.has_pidfd
    available = memory_facts().available
    assert available is not None
    assert MIB < available < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_an_unlimited_number_of_files_is_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (7, resource.RLIM_INFINITY))

    soft, hard = host_facts.file_limits()

    assert soft == 7
    assert hard > 1_000_000_000


def test_a_program_that_hangs_or_cannot_be_run_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given programs on PATH: one that hangs, and one that is none
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(host_facts, "PROGRAM_S", 0.2)
    program = tmp_path / "redis-server"
    for content, trouble in (("#!/bin/sh\nexec /bin/sleep 60\n", "timed out"), ("\x7fELF", "cannot be run")):
        program.write_text(content)
        program.chmod(0o755)
        # Then the check ends, and says why
        facts = host_facts.program_facts()
        assert facts.path == str(program)
        assert trouble in facts.trouble


def test_the_first_line_of_a_programs_version_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\necho Valkey server v=9.1.2 sha=0\necho more\n")
    program.chmod(0o755)

    assert host_facts.program_facts() == host_facts.ProgramFacts(str(program), "Valkey server v=9.1.2 sha=0")


def test_the_folders_are_tried_and_left_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    runs = host_facts.runs_facts(tmp_path / "not" / "yet")
    temporary = host_facts.temporary_facts()

    assert (runs.trouble, temporary.trouble) == ("", "")
    assert runs.free > 0 < temporary.free
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    facts = host_facts.runs_facts(tmp_path / "file" / "runs")

    assert facts.path == str(tmp_path / "file" / "runs")
    assert facts.trouble.startswith("Not a directory")
