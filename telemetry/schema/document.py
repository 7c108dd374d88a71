"""The document of the record (telemetry/record/RECORD.md): every file, row and field, made from the code's types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, get_args

import msgspec
from msgspec import inspect

from telemetry.events import AnyEvent, Event, Stamped
from telemetry.schema.meanings import MEANINGS, meaning_of
from telemetry.schema.table import FILES, RecordFile
from telemetry.schema.types import in_words, structs_in

_HEAD: Final = """\
# The record of a run

A run's folder, `runs/<id>/`, says all that is known of it, and the judge reads nothing else. This document is made from
the code (`python -m telemetry.schema.document`); a test keeps it true. `robots schema` prints the same as JSON Schema.

A `.jsonl` file holds one JSON object a line. Ids are `<milliseconds>-<n>` of the server's clock, except in journals and
births, where they are `<incarnation>-<n>`. Times that end in `_us` are microseconds, in `_ms` milliseconds, in `_s`
seconds. `null` is what did not happen, or what the record does not say.
"""

EVENTS: Final[tuple[type[Event], ...]] = get_args(AnyEvent)


def document() -> str:
    """The whole of it, as Markdown."""
    parts = [_HEAD, "\n".join(_table(("file", "evidence", "what it holds"), map(_file_row, FILES)))]
    parts += [_file_section(file) for file in FILES if file.content is not None and structs_in(file.content)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _file_row(file: RecordFile) -> tuple[str, ...]:
    return f"`{file.name}`", "yes" if file.is_evidence else "", file.meaning


def _file_section(file: RecordFile) -> str:
    structs = [struct for struct in structs_in(file.content) if not issubclass(struct, Event)]
    blocks = [f"## {file.name}", *(_struct_block(struct, file) for struct in structs)]
    if file.content is Stamped:
        blocks.append("A notable event is one that a person should see at once. Many events share these fields:")
        blocks.append("\n".join(_table(("field", "meaning"), _shared_fields())))
        blocks.append("\n".join(_table(("event", "what happened", "fields"), map(_event_row, EVENTS))))
    return "\n\n".join(blocks)


def _struct_block(struct: type[msgspec.Struct], file: RecordFile) -> str:
    config = struct.__struct_config__
    tag = f'`"{config.tag_field}": "{config.tag}"` — ' if config.tag_field else ""
    name = "" if tag or struct is file.content else f"**{struct.__name__}** — "
    rows = [(f"`{field.encode_name}`", in_words(field.type), _shown(struct, field.name)) for field in _fields(struct)]
    text = _text(struct).removeprefix(f"{file.name}: ")
    return "\n".join([f"{tag}{name}{text[:1].upper()}{text[1:]}", "", *_table(("field", "type", "meaning"), rows)])


def _event_row(event: type[Event]) -> tuple[str, ...]:
    notable = " (notable)" if event.notable else ""
    fields = (f"`{field.encode_name}` {in_words(field.type)}{_own(event, field.name)}" for field in _fields(event))
    return f"`{event.__struct_config__.tag}`{notable}", _text(event), "; ".join(fields)


def _own(event: type[Event], field: str) -> str:
    """What the field means in this event, if that is more than in others."""
    meaning = meaning_of(event, field)
    return f": {meaning}" if meaning and meaning != MEANINGS.get(field) else ""


def _shared_fields() -> Iterator[tuple[str, str]]:
    names = {field for event in EVENTS for field in event.__struct_fields__ if meaning_of(event, field)}
    return ((f"`{name}`", MEANINGS[name]) for name in sorted(names & MEANINGS.keys()))


def _fields(struct: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    found = inspect.type_info(struct)
    assert isinstance(found, inspect.StructType)
    return found.fields


def _shown(struct: type[msgspec.Struct], field: str) -> str:
    return meaning_of(struct, field) or "see above"


def _text(struct: type[msgspec.Struct]) -> str:
    return re.sub(r"\bNone\b", "null", " ".join((struct.__doc__ or "").split()))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield f"|{'---|' * len(head)}"
    yield from map(_row, rows)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(document(), end="")
