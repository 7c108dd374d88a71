"""A run that is held back: when its `go` may be given is decided by a person, who orders `begin`.

Any process may give that order (`robots go`), so every supervisor, and each successor of the leader, knows it. Whether
robots are born is not known here.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.errors import Unavailable
from broker.streams.run.control import StreamRunControl


def no_person() -> bool:
    """No person can ask this process to let a run begin: it is done with `robots go`."""
    return False


class Hold:
    """Whether a run `is_held` back still. `asked` says whether a person asked this process to let it begin."""

    def __init__(self, is_held: bool, run_control: StreamRunControl, asked: Callable[[], bool] = no_person) -> None:
        self.is_held = is_held
        """Whether `go` has to wait for a person."""
        self._run_control = run_control
        self._asked = asked
        self._is_asked = False
        self._is_ordered = False

    def poll(self) -> None:
        """Give the order `begin` if a person asked this process for it; while the server is away, in a later call.
        Raises RunGone."""
        if not self.is_held or self._is_ordered:
            return
        self._is_asked = self._is_asked or self._asked()
        if self._is_asked:
            try:
                self._run_control.order("begin")
                self._is_ordered = True
            except Unavailable:
                pass

    def end(self) -> None:
        """The order `begin` or a later one was read."""
        self.is_held = False
