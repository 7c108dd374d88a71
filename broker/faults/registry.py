"""The registry of faults: everything that can be written in a plan, one row each, in the order in which people see it.

The grammar, the options of `run` and `simulate`, the help of `robots faults set` and the tables of the README come from
it. The rows stand beside the data that they describe. The judge never reads it: it knows the faults from their
specification alone (telemetry/verdict/recomputed).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import ClassVar, Final

from broker.faults.message_faults import MESSAGE_FAULTS, MessageFault
from broker.faults.process_faults import PROCESS_FAULTS, ProcessFault
from broker.faults.syntax import FaultKind, Timeless, Tokens
from broker.faults.target import EVERYONE, Target


class Heal(Timeless, frozen=True):
    """Every fault that has begun by then ends, and does not come again."""

    name: ClassVar[str] = "heal"
    is_noop: ClassVar[bool] = False
    target: ClassVar[Target] = EVERYONE

    @classmethod
    def read(cls, words: Tokens) -> Heal:  # noqa: ARG003  it has no arguments
        return cls()

    def text(self) -> str:
        return self.name


Fault = MessageFault | ProcessFault
HEAL: Final = FaultKind(Heal.name, Heal.read, ("heal @5s",), "every fault that has begun ends")

FAULTS: Final[Mapping[str, FaultKind[Fault | Heal]]] = {
    kind.name: kind for kind in (*MESSAGE_FAULTS, HEAL, *PROCESS_FAULTS)
}
"""All kinds, by name."""

NETWORK: Final = (*MESSAGE_FAULTS, HEAL)
"""The kinds that concern messages."""


def help_table(kinds: Iterable[FaultKind[object]], width: int = 96) -> str:
    """Rows for a terminal: the syntax of each kind, and its help beside that, wrapped to `width` characters."""
    kinds = list(kinds)
    indent = max(len(example) for kind in kinds for example in kind.syntax) + 2
    lines = []
    for kind in kinds:
        helps = textwrap.wrap(kind.help, width - indent)
        lines += [f"{left:{indent}}{right}" for left, right in zip_longest(kind.syntax, helps, fillvalue="")]
    return "\n".join(f"  {line}".rstrip() for line in lines)


def option_help(kind: FaultKind[object], width: int) -> str:
    """One line of at most `width` characters for the option of a kind, whose argument is what follows the name in a
    plan: the first clause of the help, and as many examples as fit."""
    clause = re.split(r"[;:(]", f"{kind.help[0].upper()}{kind.help[1:]}")[0].strip()
    while len(clause) > width and ", " in clause:
        clause = clause.rpartition(", ")[0]
    examples = [example.removeprefix(f"{kind.name} ") for example in kind.syntax]
    while examples and len(f"{clause}: {', '.join(examples)}") > width:
        examples.pop()
    return f"{clause}: {', '.join(examples)}" if examples else clause
