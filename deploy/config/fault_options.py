"""The options and settings that are one kind of fault each, made from the registry (broker/faults/registry.py).

A fault of messages is one text (`--loss .2`), a fault of processes any number of them (`--kill r03@2s`). The name of a
setting has `_` for `-`. What is allowed in a text, the grammar of faults decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, create_model
from pydantic_settings import BaseSettings, NoDecode

from broker.faults.grammar import Line, parse_line, parse_lines
from broker.faults.message_faults import MESSAGE_FAULTS
from broker.faults.process_faults import PROCESS_FAULTS
from broker.faults.registry import option_help
from broker.faults.syntax import FaultKind, whole
from deploy.config.flags import DEATHS, NETWORK, flag

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


_LINE: Final = 67  # characters of help that fit beside the names, at 100 columns
_REPEATED: Final = "; may be repeated"


def _message_field(kind: FaultKind[Any]) -> Any:
    option = flag(NETWORK, str(kind.option), f"{option_help(kind, _LINE)}.")
    return Annotated[str | None, BeforeValidator(_shorthand(kind.name)), option], None


def _process_field(kind: FaultKind[Any]) -> Any:
    text = option_help(kind, _LINE - len(_REPEATED)).replace(" @", "@")
    option = flag(DEATHS, str(kind.option), f"{text}{_REPEATED}.")
    return Annotated[tuple[str, ...], NoDecode, BeforeValidator(_injections(kind.name)), option], ()


_FIELDS: Final[dict[str, Any]] = {
    **{name: _message_field(kind) for name, kind in _MESSAGE.items()},
    **{name: _process_field(kind) for name, kind in _PROCESS.items()},
}
FaultSettings: Any = create_model("FaultSettings", __base__=BaseSettings, **_FIELDS)
"""One setting a kind, with its flag and its check."""
