"""Which server programs a test needs, and what happens where they are missing. No tests here."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from typing import Final

import pytest

from tests.support.redis_nodes import PROGRAM, program

REQUIRED: Final = "LAB_REQUIRE_SERVERS"
"""The environment's word that every server program must be there: a missing one is a failure then."""


def demand_tls() -> None:
    """Skip the test, or fail it, unless there are a Redis server that speaks TLS and `openssl`."""
    if not shutil.which("openssl"):
        _miss("needed is the program openssl")
    if not _speaks_tls():
        _miss(f"needed is a Redis server that speaks TLS, and {program().name} does not; {PROGRAM} may name another")


@cache
def _speaks_tls() -> bool:
    """A server without TLS does not know the option, or says so; one with TLS misses its certificates."""
    command = [str(program()), "--port", "0", "--tls-port", "1", "--tls-cert-file", "/none", "--tls-key-file", "/none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return "Failed to configure TLS" in done.stdout + done.stderr


def _miss(what: str) -> None:
    if os.environ.get(REQUIRED):
        pytest.fail(what)
    pytest.skip(what)
