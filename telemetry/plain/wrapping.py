"""Lines that fit a width: broken between words, never within one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from textwrap import wrap


def wrapped(head: str, text: str, width: int) -> Iterator[str]:
    """The text behind its head; further lines are indented by the head's width."""
    lines = wrap(text, max(1, width - len(head)), break_long_words=False, break_on_hyphens=False)
    yield f"{head}{lines[0] if lines else ''}".rstrip()
    yield from (f"{' ' * len(head)}{line}" for line in lines[1:])


def wrapped_command(head: str, command: str, width: int) -> Iterator[str]:
    """The same for a command line, which a shell still understands: it is continued with a backslash."""
    room = max(1, width - len(head) - 2)
    lines: list[str] = []
    for word in map(shlex.quote, _words(command)):
        if lines and len(lines[-1]) + 1 + len(word) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    for number, line in enumerate(lines, start=1):
        begin = head if number == 1 else " " * len(head)
        yield begin + line + " \\" * (number < len(lines))


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # no command of ours
        return [command]
