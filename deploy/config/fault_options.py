"""The options and settings that are one kind of fault each, made from the registry (broker/faults/registry.py).

A fault of messages is one text (`--loss .2`), a fault of processes any number of them (`--kill r03@2s`). The name of a
setting has `_` for `-`. What is allowed in a text, the grammar of faults decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, make_dataclass
from typing import Annotated, Any, Final

from cyclopts import Group, Parameter
from pydantic import BeforeValidator, create_model
from pydantic_settings import BaseSettings, NoDecode

from broker.faults.grammar import Line, parse_line, parse_lines
from broker.faults.message_faults import MESSAGE_FAULTS
from broker.faults.process_faults import PROCESS_FAULTS
from broker.faults.registry import option_help
from broker.faults.syntax import whole

_MESSAGE: Final = {kind.name.replace("-", "_"): kind for kind in MESSAGE_FAULTS if kind.option}
_PROCESS: Final = {kind.name.replace("-", "_"): kind for kind in PROCESS_FAULTS if kind.option}

SHORTHANDS: Final = tuple(_MESSAGE)
"""The settings that are one fault each."""

PROCESS_FAULT_SHORTHANDS: Final = tuple(_PROCESS)
"""The settings that are any number of faults of processes of their name, without it."""


def canonical_lines(value: Any) -> tuple[str, ...]:
    """One line each, of one or more texts that may hold several. Raises PlanSyntaxError."""
    return tuple(_canonical(line) for text in _texts(value) for line in parse_lines(text))


def _shorthand(name: str) -> Callable[[Any], str | None]:
    """The arguments of one fault, on their own."""

    def check(value: Any) -> str | None:
        return None if value is None else _canonical(parse_line(f"{name} {value}")).partition(" ")[2]

    return check


def _injections(name: str) -> Callable[[Any], tuple[str, ...]]:
    """The arguments of faults of one name: `r03@2s` is `r03 @2s`."""

    def check(value: Any) -> tuple[str, ...]:
        pieces = [piece.strip() for text in _texts(value) for piece in text.split(";")]
        lines = [parse_line(f"{name} {piece.replace('@', ' @', 1)}") for piece in pieces if piece]
        return tuple(_canonical(line).removeprefix(f"{name} ") for line in lines)

    return check


def _texts(value: Any) -> list[str]:
    return [] if value is None else [str(text) for text in (value if isinstance(value, list | tuple) else [value])]


def _canonical(line: Line) -> str:
    """The line's own text, which may be longer than what was read. Raises PlanSyntaxError when it could not be read
    again.
    """
    return whole(line.text()).text


_GROUP: Final = Group("Faults")

FaultOptions: Any = Parameter(name="*")(
    make_dataclass(
        "FaultOptions",
        [
            *(
                (name, Annotated[str | None, Parameter(group=_GROUP, help=option_help(kind))], field(default=None))
                for name, kind in _MESSAGE.items()
            ),
            *(
                (
                    name,
                    Annotated[
                        tuple[str, ...] | None,
                        Parameter(group=_GROUP, help=f"{option_help(kind).replace(' @', '@')} May be repeated."),
                    ],
                    field(default=None),
                )
                for name, kind in _PROCESS.items()
            ),
        ],
        frozen=True,
        kw_only=True,
    )
)
"""One option a kind, as the command line has them."""

_MESSAGE_FIELDS: Final[dict[str, Any]] = {
    name: (Annotated[str | None, BeforeValidator(_shorthand(kind.name))], None) for name, kind in _MESSAGE.items()
}
_PROCESS_FIELDS: Final[dict[str, Any]] = {
    name: (Annotated[tuple[str, ...], NoDecode, BeforeValidator(_injections(kind.name))], ())
    for name, kind in _PROCESS.items()
}
FaultSettings: Any = create_model("FaultSettings", __base__=BaseSettings, **_MESSAGE_FIELDS, **_PROCESS_FIELDS)
"""One setting a kind, checked."""
