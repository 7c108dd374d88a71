"""Every setting as people write it in robots.toml, with its place of origin. Pure.

Two things are never shown: a password in a URL, and the secret that the robots are to reconstruct (`--secret`). A file
that holds either is named by its path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec
from cyclopts import Parameter

from broker.faults.syntax import format_duration
from deploy.config.effective import UNSET, Effective
from deploy.config.flags import declared_flag, group_of, name_of
from telemetry.anomalies.thresholds import Thresholds, format_thresholds

MASK: Final = "***"
_SECRETS: Final = frozenset({"secret"})
_IN_QUERY: Final = re.compile(r"(password=)[^&\s]*")
_LOGIN: Final = re.compile(r"(//[^/:@]*:).*@")  # to the last @ of all, in case one stands in the password
_WIDEST: Final = 44  # columns of a line for its origin to stand beside others

Value = bool | int | str | list[str] | None


class Setting(msgspec.Struct, frozen=True):
    """A setting by its `name` in robots.toml, and its `value`: a time with its unit, a text without its secrets, None
    when it has none. `source` says where it comes from, `note` what None means."""

    name: str
    value: Value
    source: str
    note: str
    group: str


def listed(settings: Iterable[Effective]) -> list[Setting]:
    """All settings, by the groups of the help."""
    rows = []
    for name, field, value, origin in settings:
        flag, group = declared_flag(field), group_of(field)
        note = flag.show_default if isinstance(flag.show_default, str) else "none"
        is_open = origin == UNSET and note != "none"  # it is decided later: drawn, or from other settings
        shown = None if is_open else _value(name, value, flag)
        rows.append((group.sort_key, Setting(name_of(name), shown, origin, note, group.name)))
    return [row for _, row in sorted(rows, key=lambda item: item[0])]


def toml_lines(settings: Iterable[Setting], with_sources: bool) -> Iterator[str]:
    """The content of a robots.toml that sets the same; what has no value, or is masked, is a comment."""
    for number, (group, rows) in enumerate(groupby(settings, key=lambda setting: setting.group)):
        lines = [(_toml_line(row), row.source) for row in rows]
        width = max((len(line) for line, _ in lines if len(line) <= _WIDEST), default=0)
        yield from ("", f"# {group}:")[number == 0 :]
        for line, source in lines:
            yield f"{line.ljust(width)}  # {source}" if with_sources else line


def masked(text: str) -> str:
    """A text without the password of a URL in it."""
    return _LOGIN.sub(rf"\1{MASK}@", _IN_QUERY.sub(rf"\1{MASK}", text))


def _value(field: str, value: object, declared: Parameter) -> Value:
    match value:
        case None | bool():
            return value
        case int():
            return format_duration(value) if declared.metavar == "TIME" else value
        case Thresholds():
            return format_thresholds(value) or None
        case tuple():
            return [masked(str(text)) for text in value]
    assert isinstance(value, str | Path), value
    return MASK if field in _SECRETS else masked(str(value))


def _toml_line(setting: Setting) -> str:
    value = setting.value
    if value is None or value == []:
        return f"# {setting.name}: {setting.note}"
    if MASK in str(value):
        return f"# {setting.name}: {value}"
    return f"{setting.name} = {_toml(value)}"


def _toml(value: Value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # what else TOML escapes, JSON does too
