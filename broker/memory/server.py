"""A server in memory, and the ports of one robot on it: for simulations, and as one half of the ports' contract suite.

Plain Python structures take the place of Redis, the given clock that of the server's. Frames are still bytes, ids still
rise, refusals are still refusals: nothing passes here that a real server would refuse. The ports of a run stand in
broker/memory/run_control.py. Never thread-safe.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress

from broker.control_entries import Control, encode_control
from broker.envelope import shard_of
from broker.errors import Fenced, JournalLost, RegisterLost, Unavailable
from broker.ports.robot import GREATEST_ID, Delivery, FleetRow, JournalRow, Order, Ports, SendResult
from broker.ports.run import BirthRow, RegisterRow, StoredFates
from broker.relay.core import Copy, Fate, Id, OutboxEntry, format_id, parse_id
from telemetry.clock import Clock


async def wait_for_arrival(arrived: asyncio.Event, wait_us: int | None) -> None:
    """Wait until `announce` is called for the event, at most `wait_us` (None: for ever)."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None if wait_us is None else wait_us / 1_000_000):
            await arrived.wait()


def announce(arrived: asyncio.Event) -> None:
    """Wake all that wait for the event now."""
    arrived.set()
    arrived.clear()


class _Outbox:
    """A shard's outbox, its control stream and its fates."""

    def __init__(self) -> None:
        self.fresh: deque[OutboxEntry] = deque()
        self.pending: dict[str, OutboxEntry] = {}
        self.added = 0
        self.last: Id = (0, 0)
        self.controls: list[tuple[str, Control]] = []
        self.fates: list[StoredFates] = []
        self.arrived = asyncio.Event()


class _Inbox:
    """A robot's inbox with its one consumer group."""

    def __init__(self) -> None:
        self.fresh: deque[Delivery] = deque()
        self.pending: dict[str, Delivery] = {}
        self.skipped = 0  # trimmed unread since the last read
        self.added = 0
        self.last: Id = (0, 0)
        self.arrived = asyncio.Event()

    def trim(self, length: int) -> None:
        """Keep the newest `length` unread entries. Pending ones are older: they lose their content."""
        while len(self.fresh) > length:
            self.fresh.popleft()
            self.skipped += 1
        self.pending = {entry: Delivery(entry, 0, None) for entry in self.pending}


class _Journal:
    def __init__(self, rows: list[JournalRow]) -> None:
        self.rows = rows
        self.nonce = ""  # of the last incarnation's life


class MemoryServer:
    """What a Redis server would hold of one run."""

    def __init__(self, clock: Clock, outbox_limit: int = 100_000, inbox_limit: int = 100_000) -> None:
        self.clock = clock
        self.outbox_limit = outbox_limit
        self.inbox_limit = inbox_limit
        self.is_away = False  # every port raises Unavailable
        self.outboxes: dict[int, _Outbox] = {}
        self.inboxes: dict[str, _Inbox] = {}
        self.journals: dict[str, _Journal] = {}
        self.births: dict[str, list[BirthRow]] = {}
        self.register: list[RegisterRow] | None = None
        self.register_last: Id = (0, 1)  # the dealer's
        self.orders: list[Order] = []
        self.order_arrived = asyncio.Event()
        self.fleet: list[FleetRow] = []
        self.contradictions: Counter[str] = Counter()

    def answer(self) -> None:
        """Every request begins with this. Raises Unavailable while the server is away."""
        if self.is_away:
            raise Unavailable("the server is away")

    def next_id(self, last: Id) -> Id:
        """The id that `*` gets after `last`: the clock's millisecond, or the next number within the last one."""
        now = self.clock.wall_us() // 1000
        return (now, 0) if now > last[0] else (last[0], last[1] + 1)

    def make_room_for(self, robot: str, contents: Sequence[bytes]) -> None:
        """Open a robot's birth stream, and a journal that holds `contents`."""
        rows = [JournalRow(0, number, content) for number, content in enumerate(contents, start=1)]
        self.journals[robot] = _Journal(rows)
        self.births[robot] = []

    def open_outbox(self, shard: int) -> None:
        """Open an empty outbox."""
        self.outboxes[shard] = _Outbox()

    def inbox(self, robot: str) -> _Inbox:
        """The inbox of `robot`, made at the first use."""
        return self.inboxes.setdefault(robot, _Inbox())

    def put(self, shard: int, frame: bytes | None, control: bytes | None) -> None:
        """Add an entry to a shard's outbox."""
        outbox = self.outboxes[shard]
        outbox.last = self.next_id(outbox.last)
        outbox.fresh.append(OutboxEntry(format_id(outbox.last), frame, control))
        outbox.added += 1
        announce(outbox.arrived)

    def record(self, shard: int, fates: Sequence[Fate] = (), redo: Sequence[str] = ()) -> None:
        """Store fates, or the ids of entries that a relay is about to redo."""
        entries = self.outboxes[shard].fates
        stored = self.next_id(parse_id(entries[-1].stored) if entries else (0, 0))
        entries.append(StoredFates(format_id(stored), tuple(fates), tuple(redo)))

    def deliver(self, copy: Copy) -> None:
        """Add a copy to its receiver's inbox."""
        inbox = self.inbox(copy.receiver)
        inbox.last = self.next_id(inbox.last)
        inbox.fresh.append(Delivery(format_id(inbox.last), copy.number, copy.frame))
        inbox.added += 1
        if len(inbox.fresh) > self.inbox_limit:
            inbox.trim(self.inbox_limit)
        announce(inbox.arrived)

    def trim_inbox(self, robot: str) -> None:
        """Forget the content of everything in an inbox, as MAXLEN would: entries already handed out stay pending."""
        self.inbox(robot).trim(0)


class MemoryOutbox:
    """`ports.Outbox` in memory."""

    def __init__(self, server: MemoryServer, shard: int) -> None:
        self._server = server
        self._shard = shard

    async def send(self, frame: bytes) -> SendResult:
        outbox = self._server.outboxes[self._shard]
        if self._server.is_away:
            return SendResult.AWAY
        if len(outbox.fresh) + len(outbox.pending) >= self._server.outbox_limit:
            return SendResult.FULL
        self._server.put(self._shard, frame, None)
        return SendResult.SENT

    async def announce(self, control: Control) -> None:
        self._server.answer()
        self._server.put(self._shard, None, encode_control(control))

    def take_forgotten(self) -> bool:
        """Never: what a server in memory forgets is a life's journal and birth."""
        return False


class MemoryInbox:
    """`ports.Inbox` in memory."""

    def __init__(self, server: MemoryServer, robot: str) -> None:
        self.lost = 0
        self._server = server
        self._inbox = server.inbox(robot)
        self._left_behind: deque[Delivery] | None = None  # pending, to be given out first; None: to be looked up
        self._done: list[str] = []

    async def receive(self, limit: int, wait_us: int) -> list[Delivery]:
        inbox = self._inbox
        try:
            await self.flush()
        except Unavailable:
            self._left_behind = None
            raise
        if self._left_behind is None:
            self._left_behind = deque(inbox.pending.values())
        if self._left_behind:
            return [self._left_behind.popleft() for _ in range(min(limit, len(self._left_behind)))]
        if not inbox.fresh and wait_us > 0:
            await wait_for_arrival(inbox.arrived, wait_us)
        self.lost, inbox.skipped = self.lost + inbox.skipped, 0
        batch = [inbox.fresh.popleft() for _ in range(min(limit, len(inbox.fresh)))]
        for delivery in batch:
            inbox.pending[delivery.entry] = delivery
        return batch

    def acknowledge(self, entry: str) -> None:
        self._done.append(entry)

    async def flush(self) -> None:
        self._server.answer()
        for entry in self._done:
            self._inbox.pending.pop(entry, None)
        self._done.clear()


def _place_of(row: JournalRow) -> Id:
    return row.incarnation, row.number


class MemoryJournal:
    """`ports.Journal` in memory."""

    foreign = 0  # no other client can write here

    def __init__(self, server: MemoryServer, robot: str, nonce: str) -> None:
        self._server = server
        self._robot = robot
        self._nonce = nonce
        self._appended: list[JournalRow] = []
        self._has_server_forgotten = False

    async def replay(self) -> list[JournalRow]:
        self._server.answer()
        return list(self._find().rows)

    async def append(self, incarnation: int, contents: Sequence[bytes]) -> None:
        self._server.answer()
        journal = self._find()
        self._complete(journal, incarnation)
        last = journal.rows[-1]
        number = last.number if incarnation == last.incarnation else 0
        rows = [JournalRow(incarnation, number + place, content) for place, content in enumerate(contents, start=1)]
        journal.nonce = self._nonce
        journal.rows += rows
        self._appended += rows

    async def restore(self) -> bool:
        self._server.answer()
        if self._appended:
            self._complete(self._find(), self._appended[-1].incarnation)
        has_forgotten, self._has_server_forgotten = self._has_server_forgotten, False
        return has_forgotten

    def _complete(self, journal: _Journal, incarnation: int) -> None:
        """Append again what the server forgot. Raises Fenced."""
        last = journal.rows[-1]
        if incarnation < last.incarnation or (incarnation == last.incarnation and journal.nonce != self._nonce):
            raise Fenced("journal")
        if self._appended and _place_of(self._appended[-1]) > _place_of(last):
            self._has_server_forgotten = True
            journal.nonce = self._nonce
            journal.rows += [row for row in self._appended if _place_of(row) > _place_of(last)]

    def _find(self) -> _Journal:
        journal = self._server.journals.get(self._robot)
        if journal is None:
            raise JournalLost(self._robot)
        return journal


class MemoryRegister:
    """`ports.Register` in memory."""

    def __init__(self, server: MemoryServer, robot: str, nonce: str) -> None:
        self._server = server
        self._robot = robot
        self._nonce = nonce
        self._incarnation = 0
        self._entered = 0  # this life's entries in its birth stream, as far as known
        self._has_server_forgotten = False

    async def announce_birth(self, incarnation: int) -> None:
        self._server.answer()
        births = self._births()
        self._count_entered()
        if any(_incarnation_of(row.entry) > incarnation for row in births):
            raise Fenced("birth stream")
        mine = [row for row in births if _incarnation_of(row.entry) == incarnation]
        if mine and mine[0].nonce != self._nonce:
            raise Fenced("birth stream")
        if not mine:
            births.append(BirthRow(f"{incarnation}-1", "born", self._nonce, None))
        self._incarnation = incarnation
        self._count_entered()

    async def write(self, secret: bytes, entry: str = GREATEST_ID) -> str | None:
        self._server.answer()
        if self._incarnation:
            await self.announce_birth(self._incarnation)  # again, if the server came back without this birth
        births = self._births()
        if not births or births[-1].nonce != self._nonce:
            raise Fenced("register")
        if self._server.register is None:
            raise RegisterLost
        number = int(births[-1].entry.partition("-")[2]) + 1
        births.append(BirthRow(f"{self._incarnation}-{number}", "attempt", self._nonce, self._server.clock.wall_us()))
        self._count_entered()
        if parse_id(entry) <= self._server.register_last:
            return "memory" if self._server.register[-1].nonce == self._nonce else None
        self._server.register_last = parse_id(entry)
        self._server.register.append(RegisterRow(entry, self._robot, self._incarnation, self._nonce, secret))
        return "memory"

    async def restore_birth(self) -> bool:
        if self._incarnation:
            await self.announce_birth(self._incarnation)
        has_forgotten, self._has_server_forgotten = self._has_server_forgotten, False
        return has_forgotten

    def _count_entered(self) -> None:
        entered = sum(row.nonce == self._nonce for row in self._births())
        self._has_server_forgotten |= entered < self._entered
        self._entered = entered

    def _births(self) -> list[BirthRow]:
        births = self._server.births.get(self._robot)
        if births is None:
            raise RegisterLost
        return births


def _incarnation_of(entry: str) -> int:
    return int(entry.partition("-")[0])


class MemoryOrders:
    """`ports.Orders` in memory."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._read = 0

    async def read(self, wait_us: int) -> list[Order]:
        self._server.answer()
        if self._read == len(self._server.orders):
            await wait_for_arrival(self._server.order_arrived, wait_us)
        orders = self._server.orders[self._read :]
        self._read += len(orders)
        return orders


class MemoryFleetReader:
    """`ports.FleetReader` in memory. MemoryFleetLog writes the rows."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def rows(self) -> list[FleetRow]:
        self._server.answer()
        return list(self._server.fleet)


def memory_ports(server: MemoryServer, robot: str, nonce: str) -> Ports:
    """All ports of one life of `robot`."""
    return Ports(
        outbox=MemoryOutbox(server, shard_of(robot, len(server.outboxes))),
        inbox=MemoryInbox(server, robot),
        journal=MemoryJournal(server, robot, nonce),
        register=MemoryRegister(server, robot, nonce),
        orders=MemoryOrders(server),
        fleet=MemoryFleetReader(server),
    )
