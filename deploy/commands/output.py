"""What a command writes: progress on standard error, the result on standard output, the secret into `--output`.

A reader that has gone away must neither end a run nor change its exit code.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from deploy.errors import EnvironmentFailure


def in_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """One line for the head and one for each row, every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def report(line: str) -> None:
    """Write a line of progress. A line that cannot be written is dropped."""
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def print_result(text: str) -> bool:
    """Write the result; False: its reader has gone, which is no error. Raises EnvironmentFailure when it cannot be
    written."""
    if sys.stdout is None:
        return False
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _silence(sys.stdout)
        return False
    except OSError as error:
        _silence(sys.stdout)
        raise EnvironmentFailure(f"standard output: {error.strerror or error}") from None
    return True


def _silence(stream: TextIO) -> None:
    """Discard what is left in the stream's buffer, and all that follows: else the interpreter would fail to write it at
    its end, and exit with 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def deliver(secret: bytes | None, output: Path | None) -> None:
    """Write the secret into `--output`, if both are there; verdict and record come first. Raises EnvironmentFailure."""
    if output is None or secret is None:
        return
    try:
        output.write_bytes(secret)
    except OSError as error:
        raise EnvironmentFailure(f"--output: {output}: {error.strerror or error}") from None


def json_line(value: Mapping[str, Any]) -> str:
    """One object on one line."""
    return json.dumps(value, ensure_ascii=False)
