"""A small TOML file as a table. A complaint is one line that begins with the file's name, and says how to write what
people often take for TOML: `loss = .4`, `for = 5s`. What the table means is not known here.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from deploy.errors import UsageError

LARGEST_FILE: Final = 256 * 1024  # bytes

_AT_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)")
_BARE: Final = re.compile(r"(?P<key>[\w-]+)\s*=\s*(?P<value>[\w.+%-]+)\s*(?:#.*)?")  # a value without quotes
_NUMBER: Final = re.compile(r"(?P<sign>[+-]?)(?P<whole>\d*)\.(?P<fraction>\d*)")


def read_toml(path: Path, name: str) -> dict[str, Any]:
    """A small TOML file; complaints begin with `name`. Raises UsageError."""
    text = ""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UsageError(f"{name}: more than {LARGEST_FILE} bytes; at most that many are allowed")
        text = content.decode()
        return tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{name}: {_complaint(text, str(error))}") from None


def _complaint(text: str, error: str) -> str:
    """What is wrong, and how to write it where that is clear."""
    found = _AT_LINE.search(error)
    if found is None:
        return f"not TOML: {error}"
    number = int(found[1])
    remedy = _remedy(text.splitlines()[number - 1 : number])
    return f"line {number}: not TOML: {remedy}" if remedy else f"not TOML: {error}"


def _remedy(lines: list[str]) -> str:
    """How to write a line with one value that has no quotes; empty when it has none such."""
    line = _BARE.fullmatch(lines[0].strip()) if lines else None
    if line is None or _is_toml(lines[0]):
        return ""
    value = _NUMBER.fullmatch(line["value"])
    if value is None or not (value["whole"] or value["fraction"]):
        return f'a text has quotes around it: {line["key"]} = "{line["value"]}"'
    number = f"{value['sign']}{value['whole'] or 0}.{value['fraction'] or 0}"
    return f"a number has digits on both sides of its point: {line['key']} = {number}"


def _is_toml(line: str) -> bool:
    try:
        tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return False
    return True
