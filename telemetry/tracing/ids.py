"""The ids of traces and spans: hashes of what every envelope carries, and of the run.

So any process can compute them, and nothing about traces has to travel. The run's id alone has 24 bits, and ids of
exchanges are structured: the seed keeps two runs apart. No id comes from a random generator.
"""

from __future__ import annotations

from hashlib import blake2b

_SEPARATOR = "\x1f"


def exchange_trace_id(run: str, seed: int, exchange: str) -> int:
    """The 128 bits of the trace of an exchange, which is named in hex."""
    return _hash(16, "exchange", run, seed, exchange)


def run_trace_id(run: str, seed: int) -> int:
    """The 128 bits of a run's own trace."""
    return _hash(16, "run", run, seed)


def span_id(trace: int, operation: str, *about: str | int) -> int:
    """The 64 bits of a span: its operation, and what tells it from others of its trace."""
    return _hash(8, f"{trace:032x}", operation, *about)


def _hash(size: int, *about: str | int) -> int:
    """Never 0, which means no id."""
    return int.from_bytes(blake2b(_SEPARATOR.join(map(str, about)).encode(), digest_size=size).digest(), "big") or 1
