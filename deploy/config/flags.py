"""The command-line flags of a model of settings: their names, groups, types and help, made from its fields.

A field declares its flag with `flag`; `takes` gives a command the flags of a model. Values are passed on as they were
written: the model checks them, as it checks those of the environment and of robots.toml.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

from cyclopts import Group, Parameter
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from broker.faults.syntax import format_duration

ROBOTS: Final = Group("Robots and secret", sort_key=1)
NETWORK: Final = Group("Network", sort_key=2)
DEATHS: Final = Group("Deaths", sort_key=3)
TIME: Final = Group("Time", sort_key=4)
OUTPUT: Final = Group("Output", sort_key=5)
PLACE: Final = Group("Server and records", sort_key=6)

Given = Mapping[str, Any]
"""The flags that were written on the command line, by the name of their field."""


def flag(group: Group, metavar: str, text: str, *, short: str | None = None, default: str | None = None) -> Parameter:
    """The flag of a field. `metavar` stands for its value in the help (empty for a switch), and `default` describes a
    default that the field itself does not show."""
    return Parameter(group=group, metavar=metavar, help=text, alias=short, show_default=default)


def takes(
    model: type[BaseSettings], *, but: Collection[str] = ()
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A decorator: the command gets the flags of `model`, without those of the fields in `but`, and their values in its
    parameter `given`. Its attribute `settings_model` is the model."""
    fields = sorted(model.model_fields.items(), key=lambda item: item[0] not in model.__annotations__)  # own ones first
    options = [_option(name, field) for name, field in fields if name not in but]

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(*arguments: Any, **named: Any) -> int:
            given = {option.name: named.pop(option.name) for option in options if option.name in named}
            return command(
                *arguments, **named, given={name: value for name, value in given.items() if value is not None}
            )

        run.settings_model = model  # type: ignore[attr-defined]
        own = [part for part in inspect.signature(command).parameters.values() if part.name != "given"]
        hints = get_type_hints(command, include_extras=True)
        run.__annotations__ = hints | {option.name: option.annotation for option in options}
        run.__signature__ = inspect.Signature(_in_order([*own, *options]))  # type: ignore[attr-defined]
        return run

    return decorate


def name_of(field: str) -> str:
    """A field's name as people write it in a file; `for_` and `json_` are names that Python keeps for itself."""
    return field.rstrip("_")


def flag_of(field: str) -> str:
    """A field's flag."""
    return f"--{name_of(field).replace('_', '-')}"


def declared_flag(field: FieldInfo) -> Parameter:
    """What `flag` declared for a field."""
    [declared] = [item for item in field.metadata if isinstance(item, Parameter)]
    return declared


def group_of(field: FieldInfo) -> Group:
    """The group of a field's flag in the help."""
    groups: Any = declared_flag(field).group
    [group] = groups
    assert isinstance(group, Group)
    return group


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    declared = declared_flag(field)
    kind: Any = str | None
    if field.annotation is bool:
        kind, switch = bool | None, Parameter(negative=f"--no-{name_of(name)}")
    else:
        kind = tuple[str, ...] | None if field.default == () else str | None
        switch = Parameter(show_default=declared.show_default or _shown(field.default, declared.metavar) or False)
    annotation = Annotated[kind, declared, Parameter(name=flag_of(name)), switch]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _shown(default: object, metavar: str | None) -> str | None:
    """A default as a person would write it, None when there is nothing to write."""
    match default:
        case int():
            return format_duration(default) if metavar == "TIME" else str(default)
        case str() | Path():
            return str(default)
    return None


def _in_order(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    return sorted(parameters, key=lambda parameter: parameter.kind)
