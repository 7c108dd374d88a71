"""The relay's mind: which fate each outbox entry has, which copies are due, and what may be acknowledged.

Sans-IO: entries and the time come in as values, copies and acknowledgements go out as values. The drivers around it
(broker/memory.py, broker/streams/relay.py) only carry. Nothing here knows Redis, and nothing here draws random numbers.

Whatever a fate depends on stands in one order, that of the outbox: the plan in force for an entry is the last plan
change before it, and an envelope is stale when a later life of its sender was announced before it. So any relay, at any
time, decides the same.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left

import msgspec

from broker.dice import Dice
from broker.envelope import Envelope, Garbage, decode
from broker.plan import Birth, Control, Plan, PlanChange, decode_control
from broker.shards import is_robot
from telemetry.events import FatesDecided

Id = tuple[int, int]
"""An entry's id: (milliseconds of the server's clock, number within the millisecond)."""


def parse_id(text: str) -> Id:
    """The id written as `1700000000000-3`."""
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number)


def format_id(entry: Id) -> str:
    """The text that `parse_id` reads."""
    return f"{entry[0]}-{entry[1]}"


class OutboxEntry(msgspec.Struct, frozen=True):
    """An entry as it stands in an outbox: an envelope's frame, or a control frame; both None is garbage."""

    id: Id
    frame: bytes | None = None
    control: bytes | None = None


class Copy(msgspec.Struct, frozen=True):
    """One numbered copy of an envelope, to be put into the receiver's inbox at `due_us` (server's clock)."""

    entry: Id
    number: int
    receiver: str
    frame: bytes
    due_us: int


class Note(msgspec.Struct, frozen=True):
    """A control entry to be copied to the shard's control stream under its own id."""

    entry: Id
    control: bytes


class Fate(msgspec.Struct, frozen=True, array_like=True):
    """What was decided for one entry; a row of the shard's fates. Garbage has no sender and the state `refused`."""

    entry: str
    sender: str | None
    incarnation: int | None
    receiver: str | None
    sequence: int | None
    exchange: bytes | None
    kind: str | None
    state: str  # delivered (to `deliveries`; none = lost), stale, refused
    deliveries: tuple[int, ...]
    body: int  # bytes
    wire: int  # bytes


class Relay:
    """One shard's relay, between its driver's reads and writes."""

    def __init__(self, run: str, seed: int) -> None:
        self._run = run
        self._dice = Dice(seed)
        self._plan_ids: list[Id] = []
        self._plans: list[Plan] = []
        self._births: dict[str, list[tuple[Id, int]]] = {}
        self._newest: dict[str, int] = {}  # robot → the latest incarnation that was announced
        self._held: list[tuple[int, int, Copy]] = []  # a heap: (due_us, order of arrival, copy)
        self._arrivals = 0
        self._owed: dict[Id, int] = {}  # entry → writes still to be confirmed before it may be acked
        self._settled: list[Id] = []
        self._notes: list[Note] = []
        self._fates: list[Fate] = []
        self._changes: list[PlanChange] = []

    def remember(self, entry: Id, control: Control) -> None:
        """Take in a control entry that an earlier owner of the shard has already copied."""
        if isinstance(control, Birth):
            births = self._births.setdefault(control.robot, [])
            if (entry, control.incarnation) not in births:
                births.append((entry, control.incarnation))
            self._newest[control.robot] = max(control.incarnation, self._newest.get(control.robot, 0))
            return
        place = bisect_left(self._plan_ids, entry)
        if place < len(self._plan_ids) and self._plan_ids[place] == entry:
            return
        self._plan_ids.insert(place, entry)
        self._plans.insert(place, Plan(control))
        self._changes.append(control)

    def offer(self, entry: OutboxEntry) -> None:
        """Decide an entry. Entries of one outbox must be offered in its order, or all control entries remembered."""
        if entry.id in self._owed:
            return  # already in hand
        if entry.control is not None:
            self._offer_control(entry.id, entry.control)
            return
        envelope = decode(entry.frame) if entry.frame is not None else Garbage("no frame")
        if isinstance(envelope, Garbage) or envelope.run != self._run or not is_robot(envelope.receiver):
            self._decide(entry, None, "refused", ())
        elif self._is_stale(entry.id, envelope):
            self._decide(entry, envelope, "stale", ())
        else:
            self._decide(entry, envelope, "delivered", self._fate_of(entry.id, envelope))

    def due(self, now_us: int) -> list[Copy]:
        """The copies whose time has come, earliest first. Each is given out once."""
        copies = []
        while self._held and self._held[0][0] <= now_us:
            copies.append(heapq.heappop(self._held)[2])
        return copies

    def next_due_us(self) -> int | None:
        """When the next held copy is due (server's clock), if any is held."""
        return self._held[0][0] if self._held else None

    def notes(self) -> list[Note]:
        """Control entries to be copied before anything that stands after them is acked. Each is given out once."""
        notes, self._notes = self._notes, []
        return notes

    def fates(self) -> list[Fate]:
        """Fates to be recorded. Each is given out once."""
        fates, self._fates = self._fates, []
        return fates

    def changes(self) -> list[PlanChange]:
        """Plan changes met since the last call, for telling people."""
        changes, self._changes = self._changes, []
        return changes

    def confirm(self, entry: Id) -> None:
        """One write for `entry` (a copy, its note, or its fate's record) is known to be stored."""
        owed = self._owed[entry] - 1
        if owed:
            self._owed[entry] = owed
        else:
            del self._owed[entry]
            self._settled.append(entry)

    def may_ack(self) -> list[Id]:
        """Entries for which everything is stored. Each is given out once."""
        settled, self._settled = self._settled, []
        return settled

    @property
    def in_hand(self) -> int:
        """Entries decided and not yet settled."""
        return len(self._owed)

    def _offer_control(self, entry: Id, frame: bytes) -> None:
        try:
            control = decode_control(frame)
        except msgspec.DecodeError:
            self._decide(OutboxEntry(entry, frame=frame), None, "refused", ())
            return
        self.remember(entry, control)
        self._owed[entry] = 1
        self._notes.append(Note(entry, frame))

    def _decide(self, entry: OutboxEntry, envelope: Envelope | None, state: str, deliveries: tuple[int, ...]) -> None:
        wire = len(entry.frame or b"")
        if envelope is None:
            fate = Fate(format_id(entry.id), None, None, None, None, None, None, state, (), 0, wire)
        else:
            fate = Fate(
                format_id(entry.id),
                envelope.sender,
                envelope.incarnation,
                envelope.receiver,
                envelope.sequence,
                envelope.exchange,
                envelope.kind,
                state,
                deliveries,
                len(envelope.body),
                wire,
            )
            self._hold(entry, envelope.receiver, deliveries)
        self._fates.append(fate)
        self._owed[entry.id] = len(deliveries) + 1

    def _hold(self, entry: OutboxEntry, receiver: str, deliveries: tuple[int, ...]) -> None:
        assert entry.frame is not None
        sent_us = entry.id[0] * 1000
        for number, delay_us in enumerate(deliveries):
            copy = Copy(entry.id, number, receiver, entry.frame, sent_us + delay_us)
            heapq.heappush(self._held, (copy.due_us, self._arrivals, copy))
            self._arrivals += 1

    def _fate_of(self, entry: Id, envelope: Envelope) -> tuple[int, ...]:
        place = bisect_left(self._plan_ids, entry)
        if place == 0:
            return (0,)  # before the first plan nothing harms
        plan = self._plans[place - 1]
        return plan.fate(self._dice, envelope.sender, envelope.incarnation, envelope.receiver, envelope.sequence)

    def _is_stale(self, entry: Id, envelope: Envelope) -> bool:
        if envelope.incarnation >= self._newest.get(envelope.sender, 0):
            return False
        births = self._births[envelope.sender]
        return any(incarnation > envelope.incarnation and birth < entry for birth, incarnation in births)


def count_fates(shard: int, fates: list[Fate]) -> FatesDecided:
    """One batch's fates as numbers, for telling people."""
    delivered = [fate.deliveries for fate in fates if fate.state == "delivered"]
    return FatesDecided(
        shard=shard,
        offered=len(fates),
        lost=sum(not deliveries for deliveries in delivered),
        duplicated=sum(len(deliveries) > 1 for deliveries in delivered),
        delayed=sum(any(deliveries) for deliveries in delivered),
        stale=sum(fate.state == "stale" for fate in fates),
        refused=sum(fate.state == "refused" for fate in fates),
        copies=sum(map(len, delivered)),
    )
