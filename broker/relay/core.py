"""The relay's core: the fate of each outbox entry, the copies that are due, and what may be acknowledged.

Sans-IO: entries and times come in as values, copies and acknowledgements go out as values. The drivers around it
(broker/memory/relay.py, broker/streams/relay/driver.py) carry them, and share the constants and failpoints below.
Nothing here knows Redis, and nothing here draws random numbers.

A fate depends on one order only, that of the outbox: the plan in force for an entry is the last plan change before it;
an envelope that a partition holds back is freed by the first plan change after it under which no partition holds it;
and an envelope is stale when a later life of its sender was announced before it. So any relay, at any time, decides the
same (throttles apart). A control entry that is read when later ones are known already is too late, because the entries
between were decided without it. It is refused like garbage.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from broker.control_entries import Birth, Control, PlanChange, read_control
from broker.envelope import MAX_FRAME, Envelope, Garbage, damaged, decode, is_robot
from broker.faults.dice import Dice
from broker.relay.state import DelayQueue, HeldMessages, PlanHistory, Throttles
from telemetry.events import FatesDecided, PlanChanged

BATCH: Final = 256  # entries of an outbox in one read
NEVER_US: Final = 1 << 62  # later than any copy is due: to put out what is due by then is to put out everything

Failpoint = Callable[[str], None]
"""Called with the step that a relay has done: `taken` (entries read, nothing written), `noted` (control entries
copied), `put-out` (fates and copies stored, not acknowledged), `acked`, `holding` (copies held, none due). A test may
let the relay die there."""


def no_failpoint(_point: str) -> None:
    """The failpoint of a relay that is not under test."""


Id = tuple[int, int]
"""An entry's id as its place in the order: (milliseconds of the server's clock, number within the millisecond)."""

_is_robot = lru_cache(maxsize=1 << 16)(is_robot)


def parse_id(text: str) -> Id:
    """The id written as `1700000000000-3`."""
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number)


def format_id(entry: Id) -> str:
    """The text that `parse_id` reads."""
    milliseconds, number = entry
    return f"{milliseconds}-{number}"


class OutboxEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry as it stands in an outbox: an envelope's frame, or a control frame; both None is garbage.

    Its id, here and everywhere below, is the text that the stream gave it.
    """

    id: str
    frame: bytes | None = None
    control: bytes | None = None


class Copy(msgspec.Struct, frozen=True, gc=False):
    """One numbered copy of an envelope, to be put into the receiver's inbox at `due_us` (server's clock)."""

    entry: str
    number: int
    receiver: str
    frame: bytes
    due_us: int


class Note(msgspec.Struct, frozen=True):
    """A control entry to be copied to the shard's control stream under its own id."""

    entry: str
    control: bytes


class Fate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was decided for one entry; a row of the shard's fates. Garbage has no sender and the state `refused`.

    `faults` are the instances that changed something of it, in the order in which they acted: partitions first, then
    what loses, multiplies and delays, what corrupts, and throttles.
    """

    entry: str
    sender: str | None
    incarnation: int | None
    receiver: str | None
    sequence: int | None
    exchange: bytes | None
    kind: str | None
    state: str  # delivered (to `deliveries`), corrupt (delivered damaged), lost, stale, refused
    deliveries: tuple[int, ...]
    faults: tuple[int, ...]
    body: int  # bytes
    wire: int  # bytes


class PlanApplied(NamedTuple):
    """A plan change that came into force, and the one that it ended."""

    old: PlanChange
    change: PlanChange


class HeldEnvelope(NamedTuple):
    """An envelope that a partition holds back, with its fate but for the delay of that."""

    at: Id
    fate: Fate
    frame: bytes


class Batch(NamedTuple):
    """What was offered since the last one was taken, beside the fates: how many envelopes are `kept` by a partition,
    how many were `freed`, and the `oldest` envelope that was offered; None when none was, or none at a known time."""

    kept: int
    freed: int
    oldest: Id | None


class Relay:
    """One shard's relay, between its driver's reads and writes.

    A driver reads nothing new while `is_full`. Messages that partitions hold back do not count: the entry that frees
    them could never be read then. Those that are never freed stay unacknowledged to the end: when all is put out, as
    many entries are `unacknowledged` as are `held_messages`.
    """

    def __init__(self, run: str, seed: int) -> None:
        self._run = run
        self._dice = Dice(seed)
        self._controls: dict[Id, Control] = {}
        self._last_control: Id = (0, 0)  # up to which no new control entry can be copied any more
        self._plan_history = PlanHistory()
        self._births: dict[str, list[tuple[Id, int]]] = {}
        self._newest: dict[str, int] = {}  # robot → the latest incarnation that was announced
        self._throttles = Throttles()
        self._held_messages: HeldMessages[HeldEnvelope] = HeldMessages()
        self._delay_queue: DelayQueue[Copy] = DelayQueue()
        self._owed: dict[str, int] = {}  # entry → writes still to be confirmed before it may be acknowledged
        self._settled: list[str] = []
        self._notes: list[Note] = []
        self._fates: list[Fate] = []
        self._changes: list[PlanApplied] = []
        self._batch = _NOTHING

    def remember(self, entry: str, control: Control | None) -> None:
        """Take in a control entry that an earlier owner of the shard has already copied.

        After a takeover all of them, before anything is offered. Garbage in their place (None, or a plan of unknown
        faults) has no effect, but nothing new can be copied before it.
        """
        at = parse_id(entry)
        self._last_control = max(self._last_control, at)
        if control is not None and at not in self._controls:
            self._apply(at, control)

    def offer(self, entry: OutboxEntry) -> None:
        """Decide an entry. Entries of one outbox must be offered in its order, or all control entries remembered."""
        if entry.id in self._owed:
            return  # not acknowledged yet
        if entry.control is not None:
            self._offer_control(entry.id, entry.control)
            return
        frame = entry.frame or b""
        envelope = decode(frame)
        if isinstance(envelope, Garbage) or not self._is_ours(envelope):
            self._refuse(entry.id, frame)
        else:
            self._offer_envelope(entry, frame, envelope)

    def offer_late(self, entry: OutboxEntry) -> None:
        """Decide an entry that no relay has read in order: a control entry comes too late then."""
        if entry.control is None or parse_id(entry.id) in self._controls:
            self.offer(entry)
        elif entry.id not in self._owed:
            self._refuse(entry.id, entry.control)

    def due(self, now_us: int) -> list[Copy]:
        """The copies whose time has come, earliest first. Each is given out once."""
        return self._delay_queue.due(now_us)

    def next_due_us(self) -> int | None:
        """When the next held copy is due (server's clock), if any is held."""
        return self._delay_queue.next_due_us()

    def notes(self) -> list[Note]:
        """Control entries to be copied before anything that stands after them is acked. Each is given out once."""
        notes, self._notes = self._notes, []
        return notes

    def fates(self) -> list[Fate]:
        """Fates to be recorded. Each is given out once."""
        fates, self._fates = self._fates, []
        return fates

    def batch(self) -> Batch:
        """Numbers of what was offered since the last call."""
        batch, self._batch = self._batch, _NOTHING
        return batch

    def changes(self) -> list[PlanApplied]:
        """Plan changes that were offered and not known before, since the last call, to be reported."""
        changes, self._changes = self._changes, []
        return changes

    def confirm(self, *entries: str) -> None:
        """One write for each of `entries` (a copy, its note, or its fate's record) is known to be stored."""
        owed = self._owed
        for entry in entries:
            left = owed[entry] - 1
            if left:
                owed[entry] = left
            else:
                del owed[entry]
                self._settled.append(entry)

    def may_ack(self) -> list[str]:
        """Entries for which everything is stored. Each is given out once."""
        settled, self._settled = self._settled, []
        return settled

    @property
    def unacknowledged(self) -> int:
        """Entries offered and not yet settled."""
        return len(self._owed)

    @property
    def held_messages(self) -> int:
        """Entries that a partition holds back."""
        return len(self._held_messages)

    @property
    def held(self) -> int:
        """Copies that wait for their time."""
        return len(self._delay_queue)

    @property
    def is_full(self) -> bool:
        """Whether so many copies wait that nothing new should be read."""
        return self._delay_queue.is_full

    # Control entries

    def _offer_control(self, entry: str, frame: bytes) -> None:
        at, control = parse_id(entry), None if len(frame) > MAX_FRAME else read_control(frame)
        if control is None or not (self._controls.get(at) == control or self._add_control(at, control)):
            self._refuse(entry, frame)
            return
        self._owed[entry] = 1
        self._notes.append(Note(entry, frame))

    def _add_control(self, at: Id, control: Control) -> bool:
        """Apply a new control entry. False: it is too late, or a plan of unknown faults."""
        if at <= self._last_control or not self._apply(at, control):
            return False
        self._last_control = at
        if isinstance(control, PlanChange):
            self._changes.append(PlanApplied(self._plan_history.before(at), control))
        return True

    def _apply(self, at: Id, control: Control) -> bool:
        """False: it is a plan of unknown faults."""
        if isinstance(control, Birth):
            self._births.setdefault(control.robot, []).append((at, control.incarnation))
            self._newest[control.robot] = max(control.incarnation, self._newest.get(control.robot, 0))
        else:
            try:
                plan = self._plan_history.add(at, control)
            except ValueError:
                return False
            freed = self._held_messages.free(plan, at)
            for held in freed:
                self._put_later(at, *held)
            self._batch = self._batch._replace(freed=self._batch.freed + len(freed))
        self._controls[at] = control
        return True

    # Envelopes

    def _is_ours(self, envelope: Envelope) -> bool:
        return envelope.run == self._run and _is_robot(envelope.receiver) and _is_robot(envelope.sender)

    def _offer_envelope(self, entry: OutboxEntry, frame: bytes, envelope: Envelope) -> None:
        at = parse_id(entry.id)
        self._note_age(at)
        if self._is_stale(at, envelope):
            self._put(at, _fate(entry.id, envelope, frame, "stale", (), ()), frame)
            return
        sender, receiver = envelope.sender, envelope.receiver
        decision = self._plan_history.ruling(at).fate(
            self._dice, sender, envelope.incarnation, receiver, envelope.sequence
        )
        state, deliveries, faults, carried = "lost", decision.deliveries, decision.faults, frame
        if deliveries:
            state = "delivered"
            if decision.throttles:
                deliveries, slowing = self._throttles.slow(
                    decision.throttles, sender, receiver, at[0] * 1000, deliveries
                )
                faults += slowing
            if decision.damage is not None:
                state, carried = "corrupt", damaged(frame, len(envelope.body), decision.damage)
        fate = _fate(entry.id, envelope, frame, state, deliveries, faults)
        if deliveries and decision.is_held:
            self._hold(HeldEnvelope(at, fate, carried), sender, receiver)
        else:
            self._put(at, fate, carried)

    def _is_stale(self, at: Id, envelope: Envelope) -> bool:
        if envelope.incarnation >= self._newest.get(envelope.sender, 0):
            return False
        births = self._births[envelope.sender]
        return any(incarnation > envelope.incarnation and birth < at for birth, incarnation in births)

    def _hold(self, held: HeldEnvelope, sender: str, receiver: str) -> None:
        """Hold an envelope back, unless the plan that frees it is known already: this is a redo then."""
        for freed, plan in self._plan_history.after(held.at):
            if not plan.holds(sender, receiver):
                self._put_later(freed, *held)
                return
        self._owed[held.fate.entry] = 1  # its fate, which is not known yet
        self._batch = self._batch._replace(kept=self._batch.kept + 1)
        self._held_messages.add(sender, receiver, held.at, held)

    def _put_later(self, freed: Id, at: Id, fate: Fate, frame: bytes) -> None:
        """Put out a held envelope as if it had been sent when it was freed."""
        hold_us = (freed[0] - at[0]) * 1000
        deliveries = tuple(delay_us + hold_us for delay_us in fate.deliveries)
        self._put(at, msgspec.structs.replace(fate, deliveries=deliveries), frame)

    def _put(self, at: Id, fate: Fate, frame: bytes) -> None:
        self._fates.append(fate)
        self._owed[fate.entry] = len(fate.deliveries) + 1
        sent_us = at[0] * 1000
        for number, delay_us in enumerate(fate.deliveries):
            due_us = sent_us + delay_us
            self._delay_queue.add(due_us, len(frame), Copy(fate.entry, number, fate.receiver or "", frame, due_us))

    def _refuse(self, entry: str, frame: bytes) -> None:
        self._fates.append(Fate(entry, None, None, None, None, None, None, "refused", (), (), 0, len(frame)))
        self._owed[entry] = 1

    def _note_age(self, at: Id) -> None:
        """An id of `0-…` is no time: its writer chose it."""
        oldest = self._batch.oldest
        if at[0] and (oldest is None or at < oldest):
            self._batch = self._batch._replace(oldest=at)


_NOTHING: Final = Batch(0, 0, None)
NewCore = Callable[[], Relay]
"""Makes the core for a relay's next session: it knows nothing yet."""


def _fate(
    entry: str, envelope: Envelope, frame: bytes, state: str, deliveries: tuple[int, ...], faults: tuple[int, ...]
) -> Fate:
    return Fate(
        entry,
        envelope.sender,
        envelope.incarnation,
        envelope.receiver,
        envelope.sequence,
        envelope.exchange,
        envelope.kind,
        state,
        deliveries,
        faults,
        len(envelope.body),
        len(frame),
    )


def plan_changed(shard: int, applied: PlanApplied) -> PlanChanged:
    """The event of a plan change."""
    old, new = (tuple(planned.text for planned in change.faults) for change in (applied.old, applied.change))
    return PlanChanged(shard, old, new, applied.change.request, applied.change.refusal)


def count_fates(shard: int, fates: list[Fate], batch: Batch, now_us: int) -> FatesDecided:
    """The event of one batch's fates at `now_us` (server's clock): their numbers."""
    lost = duplicated = delayed = corrupted = stale = refused = copies = 0
    for fate in fates:
        if fate.state == "stale":
            stale += 1
        elif fate.state == "refused":
            refused += 1
        elif fate.state == "lost":
            lost += 1
        else:
            copies += len(fate.deliveries)
            duplicated += len(fate.deliveries) > 1
            delayed += any(fate.deliveries)
            corrupted += fate.state == "corrupt"
    return FatesDecided(
        shard=shard,
        offered=len(fates),
        lost=lost,
        duplicated=duplicated,
        delayed=delayed,
        corrupted=corrupted,
        stale=stale,
        refused=refused,
        copies=copies,
        kept=batch.kept,
        freed=batch.freed,
        lag_us=0 if batch.oldest is None else max(0, now_us - batch.oldest[0] * 1000),
    )
