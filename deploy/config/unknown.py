"""Names that are no setting, and the known name that a person most likely meant. Pure: nothing is read or printed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

PREFIX: Final = "ROBOTS_"

_OF_KUBERNETES: Final = re.compile(r"ROBOTS_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://\S+")  # the value of its ROBOTS_…_PORT


def unknown_variables(environment: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """One line for each variable `ROBOTS_…` that is none of the settings `known`. An empty variable is as good as none.
    Kubernetes sets some in every container, for each service whose name begins with `robots`: those are passed over."""
    for variable, value in environment.items():
        name = variable.removeprefix(PREFIX)
        if value and name != variable and name.lower() not in known and not _is_of_kubernetes(variable, value):
            near = _nearest(name.lower(), known)
            hint = f"do you mean {PREFIX}{near.upper()}?" if near else "`robots config` lists all"
            yield f"{variable} is no setting; {hint}"


def unknown_keys(keys: Iterable[str], known: Collection[str]) -> str:
    """Which of a file's keys are no settings, and what was meant; empty when all are known. A key may have - for _."""
    unknown = [key for key in keys if key.replace("-", "_") not in known]
    if not unknown:
        return ""
    names, what = ", ".join(map(repr, unknown)), "is no setting" if len(unknown) == 1 else "are no settings"
    near = [name for key in unknown if (name := _nearest(key.replace("-", "_").lower(), known))]
    hint = f"do you mean {', '.join(near)}?" if near else "`robots config` lists all"
    return f"{names} {what}; {hint}"


def _nearest(name: str, known: Collection[str]) -> str:
    """Empty when none is near."""
    return next(iter(get_close_matches(name, sorted(known), 1)), "")


def _is_of_kubernetes(variable: str, value: str) -> bool:
    is_address = variable.endswith("PORT") and _ADDRESS.fullmatch(value) is not None
    return is_address or _OF_KUBERNETES.fullmatch(variable) is not None
