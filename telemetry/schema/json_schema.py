"""JSON Schema (draft 2020-12) of values and rows, made from their types, with the meanings of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from telemetry.schema.meanings import meaning_of
from telemetry.schema.types import structs_in

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = "#/$defs/{name}"
Schema = dict[str, Any]


def schema_of(kind: Any, title: str, description: str) -> Schema:
    """The schema of one value of this type."""
    (schema,), components = _components([kind])
    return {"$schema": _DIALECT, "title": title, "description": description, **schema, "$defs": components}


def schema_of_all(kinds: Mapping[str, Any], descriptions: Mapping[str, str]) -> Schema:
    """The schema of an object that holds, under each name, a value of that name's type."""
    schemas, components = _components(list(kinds.values()))
    properties = {
        name: {"description": descriptions[name], **schema} for name, schema in zip(kinds, schemas, strict=True)
    }
    return {"$schema": _DIALECT, "type": "object", "properties": properties, "$defs": components}


def _components(kinds: list[Any]) -> tuple[tuple[Schema, ...], Schema]:
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    for struct in dict.fromkeys(struct for kind in kinds for struct in structs_in(kind)):
        _explain(struct, _component(components, struct))
    return schemas, components


def _component(components: Schema, struct: type[msgspec.Struct]) -> Schema:
    """The struct's own schema: msgspec takes the full name where two types share the short one."""
    found: Schema = components.get(struct.__name__) or components[f"{struct.__module__}.{struct.__qualname__}"]
    return found


def _explain(struct: type[msgspec.Struct], schema: Schema) -> None:
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    for field in struct.__struct_fields__:
        meaning = meaning_of(struct, field)
        if meaning is not None:
            schema["properties"][field]["description"] = meaning
