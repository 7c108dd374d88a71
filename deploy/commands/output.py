"""What a command writes: progress on standard error, the result on standard output, the secret into `--output`.

A reader that has gone away must neither end a run nor change its exit code. Nothing that a command prints reaches a
terminal but letters: what comes from outside is made harmless here, whatever it is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, Final, TextIO

from deploy.errors import EnvironmentFailure

WIDTH: Final = 80
"""Of lines, where there is no terminal that tells its own width."""

_TIME: Final = 11  # columns of a line's time: the rest of a long line begins below its text


def in_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """One line for the head and one for each row, every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def width_of(stream: TextIO | None) -> int | None:
    """The width of the terminal that a stream writes to; None when it is none."""
    try:
        if stream is None or not stream.isatty():
            return None
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return None


def report(line: str) -> None:
    """Write a line of progress; a terminal gets it broken between words. A line that cannot be written is dropped."""
    if sys.stderr is None:
        return
    width, text = width_of(sys.stderr), _escaped(line)
    if width is not None and len(text) > width:
        text = "\n".join(_broken(text, width))
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, UnicodeError):
        _silence(sys.stderr)


def _broken(text: str, width: int) -> list[str]:
    indent = " " * _TIME if text[:_TIME].endswith("  ") else ""
    return wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def print_result(text: str, move: str = "") -> bool:
    """Write the result, of one line or several, after what moves the cursor; False: its reader has gone, which is no
    error. Raises EnvironmentFailure when it cannot be written."""
    if sys.stdout is None:
        return False
    try:
        print(move + "\n".join(map(_escaped, text.split("\n"))), flush=True)
    except BrokenPipeError:
        _silence(sys.stdout)
        return False
    except OSError as error:
        _silence(sys.stdout)
        raise EnvironmentFailure(f"standard output: {error.strerror or error}") from None
    return True


def _escaped(line: str) -> str:
    """With every unprintable character escaped as JSON does it: an object on this line keeps its value."""
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)


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
