"""The catalogue: all exhibits by name, and the components of each. A name that comes from the network is looked up
here, and must never name anything that is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from robots.components import STANDARD, Components
from robots.exhibits.exhibit import Exhibit
from robots.exhibits.robots import MergesAgain


class UnknownExhibit(ValueError):
    """No exhibit has that name here: another version of the lab knows it."""


EXHIBITS: Final[Mapping[str, Exhibit]] = {
    "no-dedup": Exhibit(
        help="a robot merges and journals a part that it knows already",
        promise="idempotent",
        components=Components(secret_merger=MergesAgain),
        settings={"preset": "calm", "fault": ("duplicate .5",)},
    ),
}


def components_of(exhibit: str | None) -> Components:
    """The components of a lab that shows the exhibit of that name; None: that shows none. Raises UnknownExhibit."""
    if exhibit is None:
        return STANDARD
    try:
        return EXHIBITS[exhibit].components
    except KeyError:
        raise UnknownExhibit(f"there is no exhibit {exhibit!r} here") from None
