"""The ids of traces and spans: hashes of what every envelope carries, and of the run.

So any process can compute them, and nothing about traces has to travel. The run's id alone has 24 bits, and ids of
exchanges are structured: the seed keeps two runs apart. No id comes from a random generator.

An id is BLAKE2b (128 bits of a trace, 64 of a span, big-endian) over words in UTF-8, each after a byte 0x1f; those of a
span come after the 16 bytes of its trace. The root of an exchange has the one word `exchange`, that of a run `run`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_MOST: Final = 12  # words of a name
_FORMATS: Final = ["\x1f%s" * words for words in range(_MOST + 1)]  # a separator before each word


def exchange_trace_id(run: str, seed: int, exchange: str) -> int:
    """The 128 bits of the trace of an exchange, which is named in hex."""
    return _trace_id("exchange", run, seed, exchange)


def run_trace_id(run: str, seed: int) -> int:
    """The 128 bits of a run's own trace."""
    return _trace_id("run", run, seed)


def span_id(trace: int, operation: str, *about: str | int) -> int:
    """The 64 bits of a span: its operation, and what distinguishes it from others of its trace."""
    name = (operation, *about)
    content = trace.to_bytes(16, "big") + (_FORMATS[len(name)] % name).encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") or 1  # 0 means no id


def _trace_id(*name: str | int) -> int:
    return int.from_bytes(blake2b((_FORMATS[len(name)] % name).encode(), digest_size=16).digest(), "big") or 1
