"""The ports of one robot's life, and the values that they carry. Signatures only.

Each port has a memory driver (broker/memory/) and a streams driver (broker/streams/), and one contract suite runs over
both. Each port handles lost replies itself: what a method reports as done is done exactly once, and a method that
cannot know raises `Unavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, Literal, Protocol

import msgspec

from broker.control_entries import Control


class Delivery(msgspec.Struct, frozen=True):
    """An inbox entry as its reader gets it. `frame` is None when the entry was trimmed after an earlier delivery, and
    empty when it holds no copy of an envelope at all: anybody may write to a stream."""

    entry: str
    copy: int
    frame: bytes | None


class JournalRow(msgspec.Struct, frozen=True):
    """A journal entry with its place: the n-th of an incarnation. Its content is opaque to the broker."""

    incarnation: int
    number: int
    content: bytes


OrderName = Literal["dealt", "begin", "go", "joined", "crash", "stop"]


class Order(msgspec.Struct, frozen=True):
    """An order to all robots: `dealt` (content = the run's terms), `go`, `joined` (content = the name of a robot that
    takes part from now on), `crash` (content = the worker that is to crash: `r03/secret_merger`; all others ignore it)
    or `stop` (content = the reason). `begin` is a person's order to the leader of a run that is held back: it may order
    `go` now; robots ignore it."""

    entry: str
    order: OrderName
    content: bytes

    @property
    def text(self) -> str:
        """The content for people: what is not UTF-8 in it is replaced, because anybody may write an order."""
        return self.content.decode(errors="replace")


class SendResult(Enum):
    """The result of sending an envelope to an outbox. It is never sent again, whatever the result."""

    SENT = "sent"  # it stands there
    FULL = "full"  # refused: it does not stand there
    AWAY = "away"  # no answer, or no outbox: it may or may not stand there


class Outbox(Protocol):
    """A shard's stream into the relay, as one robot writes to it."""

    async def send(self, frame: bytes) -> SendResult:
        """Put an envelope's frame there, once at most."""
        ...

    async def announce(self, control: Control) -> None:
        """Put a control entry there, for certain (twice does no harm). Raises Unavailable."""
        ...

    def take_forgotten(self) -> bool:
        """Whether the server was found, since the last call, to have forgotten an entry that it had taken from this
        life."""
        ...


class Inbox(Protocol):
    """A robot's own stream out of the relay. It is trimmed to a limit, read or not, so that one robot that is slow or
    dead cannot fill the server."""

    @property
    def lost(self) -> int:
        """Entries that were trimmed before any life read them, as far as this life has noticed. Counted from the
        stream's own counters: exact, though it may be noticed only some hundred entries later."""
        ...

    async def receive(self, limit: int, wait_us: int) -> list[Delivery]:
        """At most `limit` entries that this robot has not acknowledged: first those that an earlier life or call left
        pending, then new ones. Waits at most `wait_us`; an empty list means that nothing is there.
        Raises Unavailable."""
        ...

    def acknowledge(self, entry: str) -> None:
        """Never give `entry` out again. Travels with the next `receive`; a crash before that redelivers."""
        ...

    async def flush(self) -> None:
        """Send acknowledgements now."""
        ...


class Journal(Protocol):
    """A robot's own log, across its lives. Entries are numbered 1, 2, 3 … within an incarnation. What other clients put
    there is passed over."""

    @property
    def foreign(self) -> int:
        """How many entries of other clients this life had to remove, so that it could append."""
        ...

    async def replay(self) -> list[JournalRow]:
        """All entries of the robot, in order. Raises JournalLost, Unavailable."""
        ...

    async def append(self, incarnation: int, contents: Sequence[bytes]) -> None:
        """Store `contents` in order, as this life's next entries. The first append of an incarnation claims it.
        Raises Fenced when another life stored that id or a later one; JournalLost; Unavailable."""
        ...

    async def restore(self) -> bool:
        """Append again what the server forgot of this life's entries. Whether it forgot any since the last call, even
        if an append has restored them by then. Raises Fenced, JournalLost, Unavailable."""
        ...


GREATEST_ID: Final = "18446744073709551615-18446744073709551615"
"""The id of the write in the register: nothing can ever follow it."""


class Register(Protocol):
    """The write-once register of the run, and this robot's birth stream, which fences its writes."""

    async def announce_birth(self, incarnation: int) -> None:
        """Announce this life. Raises Fenced when a later life was announced, RegisterLost, Unavailable."""
        ...

    async def write(self, secret: bytes, entry: str = GREATEST_ID) -> str | None:
        """Write `secret` under the id `entry`, if the register holds no entry with that id or a later one. Under the
        greatest id that means: if no robot has. After any other id another write may follow; only exhibits use them.
        How its durability was ensured (`aof`, `replica`, `memory`), or None when it was refused. The attempt is
        recorded either way.
        Raises Fenced, RegisterLost, Unavailable."""
        ...

    async def restore_birth(self) -> bool:
        """Announce this life's birth again if the server forgot it. Whether it forgot that, or this life's attempt to
        write, since the last call. An attempt is not made again. Raises Fenced, RegisterLost, Unavailable."""
        ...


class Orders(Protocol):
    """The run's orders."""

    async def read(self, wait_us: int) -> list[Order]:
        """Orders that this reader has not seen, in order; waits at most `wait_us` for one. Raises Unavailable."""
        ...


DeathKind = Literal["exit", "signal", "silent", "lease"]
"""How a process died."""


class Injection(msgspec.Struct, frozen=True):
    """A process fault that was due, with the victim that was drawn. Recorded before it is injected, or before the
    command is sent to another host's RQ worker; whether that one executed it does not show here.

    `entry` is its id, by the server's clock. `verb` and `target` are the fault's own words (`kill`, `robot`),
    `victim` is the process that was drawn: `r03` (a robot's horse), `rq:r03` (the RQ worker that runs it; an idle
    one by its own name), `relay:1`, `supervisor`, `redis`, or `r03/secret_merger`. `request_id`: the person's request
    that it comes from; empty: it was in the plan, or is the end of a pause.
    """

    entry: str
    verb: str
    target: str
    victim: str
    request_id: str = ""


class Failure(msgspec.Struct, frozen=True):
    """A process fault that was due, and was not injected: `why`, in one line. It excuses no death. Other fields as of
    an injection; when that was recorded before, its failure comes right after it."""

    entry: str
    verb: str
    target: str
    why: str
    request_id: str = ""


class Death(msgspec.Struct, frozen=True):
    """A process's death, recorded by the process that found it. `victim` as of an injection.

    `robot` is the robot that the victim ran (empty: none), `incarnation` the last life of it that was claimed in its
    journal (0: none). `how` it died: it ended itself (`exit`; `status` = its exit status), a signal killed it
    (`signal`; negative = that signal's number), its loop fell silent and it was killed (`silent`), or its lease was not
    renewed (`lease`; the status is unknown: 0).
    """

    entry: str
    victim: str
    robot: str
    incarnation: int
    how: DeathKind
    status: int


class Acknowledgement(msgspec.Struct, frozen=True):
    """The leader's answer to a person's request that concerns process faults alone: such a request changes nothing in
    an outbox. It excuses no death: only an injection does.

    `request_id` is the request's id in the stream of requests, `request` its text, `refusal` why it was not done, in
    one line (empty: it was done).
    """

    entry: str
    request_id: str
    request: str
    refusal: str


class LeadershipGap(msgspec.Struct, frozen=True):
    """Until now, for `away_us`, no supervisor renewed the run's lease: the leader was dead or paused, or the server was
    away. Recorded by the supervisor that leads from now on; what it knows of leases begins anew."""

    entry: str
    away_us: int


FleetRow = Injection | Failure | Death | Acknowledgement | LeadershipGap


class FleetReader(Protocol):
    """The fleet log, as a robot's life reads it before it is born."""

    async def rows(self) -> list[FleetRow]:
        """All rows, in order. Raises Unavailable."""
        ...


class Ports(msgspec.Struct, frozen=True):
    """Everything one robot's life can reach."""

    outbox: Outbox
    inbox: Inbox
    journal: Journal
    register: Register
    orders: Orders
    fleet: FleetReader
