"""A run's ports: to lead it, to log what happens to its fleet, and to read its evidence. Signatures and values only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from broker.control_entries import Control, PlanChange
from broker.ports.robot import DeathKind, FleetRow, JournalRow, Order
from broker.relay.core import Fate


class FleetLog(Protocol):
    """Injections and their failures, deaths, acknowledgements and gaps in the leadership, in one order. Evidence, never
    trimmed.

    Synchronous, because it is used by processes without an event loop. Every method raises Unavailable. When the run is
    gone, nothing is stored, and there are no rows. Only a death is then passed over: the other rows raise RunGone."""

    def injection(self, verb: str, target: str, victim: str, request_id: str = "") -> None:
        """Record a process fault that is about to be injected. Raises RunGone."""
        ...

    def failure(self, verb: str, target: str, why: str, request_id: str = "") -> None:
        """Record a process fault that was due, and was not injected. Raises RunGone."""
        ...

    def death(self, victim: str, robot: str, incarnation: int, how: DeathKind, status: int) -> None:
        """Record a death."""
        ...

    def acknowledge(self, request_id: str, request: str, refusal: str) -> None:
        """Record the answer to a request. Twice does no harm. Raises RunGone."""
        ...

    def leadership_gap(self, away_us: int) -> None:
        """Record that until now, for so long, no supervisor led the run. Raises RunGone."""
        ...

    def rows(self) -> list[FleetRow]:
        """All rows, in order."""
        ...


class BirthRow(msgspec.Struct, frozen=True):
    """An entry of a birth stream: `born`, or `attempt` (a try to write the secret, with the server's time)."""

    entry: str
    what: Literal["born", "attempt"]
    nonce: str
    at_us: int | None


class RegisterRow(msgspec.Struct, frozen=True):
    """An entry that the register accepted after the dealer's. Of an entry that is no write of ours, what cannot be read
    is empty, 0, or replaced."""

    entry: str
    robot: str
    incarnation: int
    nonce: str
    secret: bytes


class StreamCount(msgspec.Struct, frozen=True):
    """A stream's own counters: entries ever added, the last id, entries that are there now."""

    added: int
    last: str
    length: int


class StoredFates(msgspec.Struct, frozen=True):
    """An entry of a shard's fates: what a relay decided, or which pending entries it began to redo."""

    stored: str  # the entry's id
    fates: tuple[Fate, ...] = ()
    redo: tuple[str, ...] = ()


class Evidence(msgspec.Struct, frozen=True):
    """What a server holds of a run when it has ended, from which its record is made. Missing streams are None."""

    controls: dict[int, list[tuple[str, Control]]]
    fates: dict[int, list[StoredFates]]
    journals: dict[str, list[JournalRow] | None]
    births: dict[str, list[BirthRow] | None]
    register_exists: bool
    writes: list[RegisterRow]  # in their order in the register
    outboxes: dict[int, StreamCount]
    inboxes: dict[str, StreamCount]
    orders: list[Order]
    fleet: list[FleetRow]
    contradictions: dict[str, int] = {}
    """Per robot, how many copies the lab itself put into its inbox, past all relays."""


class RunSpec(msgspec.Struct, frozen=True):
    """What a run begins with. `journals` holds, per robot, the contents of its journal's entries `0-1`, `0-2` …;
    `terms` is the content of the order `dealt`. `metadata` are for supervisors on any host, and for the run's record;
    no robot reads them, and they are opaque to the broker."""

    run: str
    shards: int
    plan: PlanChange
    journals: dict[str, list[bytes]]
    terms: bytes
    metadata: tuple[bytes, ...] = ()


class Request(msgspec.Struct, frozen=True):
    """A person's request to the run's leader: `set loss 0.5`, `clear loss`, `heal` (broker/faults/scheduler.py).

    `entry` is its id in the run's requests.
    """

    entry: str
    text: str


class RunControl(Protocol):
    """What the leader of a run does to it, from outside of all robots: deals it, gives orders, changes the plan.

    Synchronous, because it is used by processes without an event loop. Every method but `requests` raises
    Unavailable."""

    def deal(self, run_spec: RunSpec) -> None:
        """Create register, births and journals, put the plan into every outbox, and give the order `dealt`."""
        ...

    def admit(self, robot: str, contents: Sequence[bytes]) -> None:
        """Let one more robot take part: create its births and its journal, which begins with `contents`, and give the
        order `joined`. Twice does no harm."""
        ...

    def order(self, order: Literal["begin", "go", "crash", "stop"], content: bytes = b"") -> None:
        """Give an order to all robots."""
        ...

    def orders(self) -> list[Order]:
        """Orders that this object has not given yet, in order, its own included. Raises RunGone."""
        ...

    def change(self, change: PlanChange, is_retried: bool = True) -> None:
        """Put a plan change into every outbox, for certain (twice does no harm). Tried once if not `is_retried`."""
        ...

    def requests(self) -> list[Request]:
        """Requests that this object has not given yet, in order."""
        ...


class EvidenceReader(Protocol):
    """What a run's server holds of it, read from outside, without any change to it.

    Synchronous, because it is used by processes without an event loop. Every method raises Unavailable."""

    def journal(self, robot: str) -> list[JournalRow]:
        """What stands in a robot's journal; nothing when it is lost."""
        ...

    def collect(self) -> Evidence:
        """Read everything that the verdict is judged from."""
        ...
