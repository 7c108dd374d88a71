"""The types of a record's fields: which struct types stand in a type, and a type in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

from telemetry.events import Event

_WORDS: Final[dict[type[inspect.Type], str]] = {
    inspect.StrType: "text",
    inspect.IntType: "whole number",
    inspect.FloatType: "number",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.AnyType: "anything",
}


def structs_in(kind: Any) -> list[type[msgspec.Struct]]:
    """The struct types that stand in a type, each once, in the order in which they are met."""
    return list(dict.fromkeys(_structs(inspect.type_info(kind))))


def in_words(field_type: inspect.Type) -> str:
    """A field's type, as a person would say it."""
    match field_type:
        case inspect.Metadata(type=inner):
            return in_words(inner)
        case inspect.UnionType(types=types):
            return " or ".join(dict.fromkeys(map(in_words, types)))
        case inspect.LiteralType(values=values):
            return ", ".join(f'"{value}"' for value in values)
        case inspect.TupleType(item_types=items):
            return f"[{', '.join(map(in_words, items))}]"
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return f"list of {in_words(item)}"
        case inspect.DictType(value_type=value):
            return f"object: {in_words(value)} by name"
        case inspect.StructType(cls=cls):
            return "an event" if issubclass(cls, Event) else cls.__name__
    return _WORDS[type(field_type)]


def _structs(found: inspect.Type) -> Iterator[type[msgspec.Struct]]:
    match found:
        case inspect.Metadata(type=inner):
            yield from _structs(inner)
        case inspect.UnionType(types=types):
            for one in types:
                yield from _structs(one)
        case inspect.TupleType(item_types=items):
            for one in items:
                yield from _structs(one)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            yield from _structs(item)
        case inspect.DictType(value_type=value):
            yield from _structs(value)
        case inspect.StructType(cls=cls, fields=fields):
            yield cls
            for field in fields:
                yield from _structs(field.type)
