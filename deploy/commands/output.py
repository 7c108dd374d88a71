"""What people and programs get to read: progress on stderr, the result on stdout, the secret where it was wanted.

A reader who went away must neither end a run nor change its exit code.

Rows of words, set in columns for people. What the words mean is not known here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from broker.ports.run import Evidence
from deploy.config.settings import LabSettings
from deploy.errors import EnvironmentFailure


def in_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """One line for the head and one for each row, every column as wide as its widest word."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()


def tell(line: str) -> None:
    """Progress. Who cannot hear it misses nothing."""
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def show(text: str) -> None:
    """The result. Raises Unable when it cannot be written, but not when its reader has left."""
    if sys.stdout is None:
        return
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        raise EnvironmentFailure(f"standard output: {error.strerror or error}") from None


def _silence(stream: TextIO) -> None:
    """Send what is still in the stream's buffer, and all that follows, nowhere: else the interpreter would fail to
    write it at its end, and exit with 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def deliver(settings: LabSettings, evidence: Evidence) -> None:
    """The secret, if `--output` asked for it and there is one; verdict and record come first. Raises Unable."""
    if settings.output is None or evidence.register is None:
        return
    try:
        settings.output.write_bytes(evidence.register.secret)
    except OSError as error:
        raise EnvironmentFailure(f"--output: {settings.output}: {error.strerror or error}") from None
