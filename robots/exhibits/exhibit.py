"""What an exhibit is: what is broken, the promise that must convict it, what a run needs to show it, and the classes
that it replaces. It knows no exhibit.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from robots.components import Components

Value = str | tuple[str, ...]


class Exhibit(msgspec.Struct, frozen=True):
    """One mutation of the lab. `help` is one line that says what is broken, `promise` is the name of the promise that
    must be BROKEN.

    `settings` are what a run needs to show it, by the names of a lab's settings and in the syntax of the command line.
    The same settings without the exhibit make a run that holds every promise.
    """

    help: str
    promise: str
    components: Components
    settings: Mapping[str, Value]
