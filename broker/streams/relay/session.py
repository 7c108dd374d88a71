"""One session of a relay: moves a shard's entries from streams into the core (broker/relay/core.py), and the core's
decisions back into streams. It lasts as long as one lease and one connection.

It decides nothing. Its one rule: nothing is acknowledged before every reply about it was checked. So a kill, a lost
reply, a server out of memory or a lost lease leaves the entry pending, and a later session redoes it. What is about to
be redone is recorded first.

Under load, the server stores one batch and reads another while the core decides the one between.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import redis
from redis.exceptions import ResponseError

from broker.control_entries import read_control
from broker.errors import Unavailable
from broker.relay.core import BATCH, NEVER_US, Failpoint, Note, OutboxEntry, Relay, count_fates, plan_changed
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.reading import decoded
from broker.streams.relay.lease import Lease
from broker.streams.relay.wire import GROUP, BulkLine, Command, WriteQueue
from telemetry.events import AnyEvent, RelayCongested, RelayResumed

PAUSE_S: Final = 0.05  # after a refused write, and between connections
LAST_RETRY_S: Final = 5.0  # with a server that does not answer or refuses writes, once the run is over
_IDLE_MS: Final = 100  # the longest wait for work; the lease is renewed after it
_ACKS_WAIT_MS: Final = 5  # without work, before acknowledgements travel alone
_CHORES_EVERY_US: Final = 1_000_000
_CHORES_EVERY: Final = 8192  # entries; below what one XTRIM may remove
_PAGE: Final = 64  # control entries in one read
_CONSUMER: Final = b"relay-"  # with a suffix of the session's own
_encode = msgspec.msgpack.Encoder().encode


class Overtaken(Exception):
    """A control entry cannot be copied, because the target stream holds a later entry already. A new session knows that
    from the beginning, and refuses the entry."""


class RelaySession:
    """A relay at work on one shard: `take_over`, `serve`, then `drain` or `leave`.

    Everything raises Overtaken, lease.Deposed when the lease is lost, redis-py's ConnectionError or TimeoutError, and
    ResponseError when the server refuses (streams/retry.py) or the shard's streams are gone. The session is over then.
    """

    def __init__(
        self,
        client: redis.Redis,
        line: BulkLine,
        lease: Lease,
        names: Keys,
        shard: int,
        relay: Relay,
        emit: Callable[[AnyEvent], None],
        failpoint: Failpoint,
    ) -> None:
        self._client = client  # for rare commands
        self._line = line
        self._lease = lease
        self._shard = shard
        self._relay = relay
        self._emit = emit
        self._failpoint = failpoint
        self._outbox = names.outbox(shard)
        self._control = names.control(shard)
        self._fates = names.fates(shard)
        self._consumer = _CONSUMER + secrets.token_hex(6).encode()
        self._reading: Command = (
            *("XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", BATCH),
            *("STREAMS", self._outbox, ">"),
        )
        self._last = "0-0"  # the last entry that any relay has read
        self._outgoing = WriteQueue(names, shard, relay.confirm)
        self._taken: list[OutboxEntry] = []  # read, and not decided yet
        self._notes: list[Note] = []  # not known to be stored
        self._are_notes_refused = False
        self._is_congested = False
        self._clock_offset_us = 0
        self._chores_due_us = 0
        self._since_chores = 0

    @property
    def stored_fates(self) -> str | None:
        """The newest entry of fates that the server is known to have stored in this session."""
        return self._outgoing.stored_fates

    def take_over(self) -> None:
        """Load what earlier sessions knew, and redo what they left."""
        self._found_group()
        self._measure_clock()
        self._remember()
        redone = self._redo()
        self._forget_consumers()
        self._emit(RelayResumed(self._shard, redone))

    def serve(self, stopping: Callable[[], bool]) -> None:
        """Relay until `stopping()`."""
        while not stopping():
            self._step(self._now_us())
            if self._is_stuck or self._is_idle:
                self._rest()
            self._do_chores()

    def leave(self) -> None:
        """Finish what is begun. Held messages stay pending, for a successor."""
        while not self._is_stuck and (not self._is_idle or self._outgoing.has_acks):
            self._step(self._now_us(), is_reading=False)

    def drain(self) -> None:
        """Decide and deliver everything, without waiting for delays: the robots are gone. What a partition holds back
        stays pending, if no plan frees it."""
        retry_s = LAST_RETRY_S
        while self._step(NEVER_US) or self._is_stuck or not self._is_idle or self._outgoing.has_acks:
            if self._is_stuck:
                if retry_s < 0:
                    raise Unavailable(f"relay {self._shard}: the server refuses writes")
                time.sleep(PAUSE_S)
                retry_s -= PAUSE_S
        unsettled = self._relay.unacknowledged - self._relay.held_messages
        if unsettled:
            raise Unavailable(f"relay {self._shard}: {unsettled} entries could not be settled")

    # One step

    def _step(self, now_us: int, is_reading: bool = True) -> int:
        """Deliver what is due by `now_us`, read what is new, and decide. Returns how many entries were read."""
        self._store_notes()
        self._outgoing.add_copies(self._relay.due(now_us))
        flight = self._outgoing.load()
        reading = (self._reading,) if is_reading and self._may_read() else ()
        self._lease.send(reading, flight)
        self._decide()  # the batch that the last step has read
        self._outgoing.add_copies(self._relay.due(now_us))  # packed while the server is busy
        self._taken = [entry for reply in self._lease.receive() for entry in _fresh(reply)]
        taken = len(self._taken)
        if taken:
            self._last = self._taken[-1].id
            self._since_chores += taken
            self._failpoint("taken")
        self._land(flight)
        if taken < BATCH:
            self._decide()  # no more for now, so there is nothing to overlap with
        return taken

    @property
    def _is_idle(self) -> bool:
        """Whether nothing is left to do now; acknowledgements wait to travel with something else."""
        return not (self._taken or self._notes or self._outgoing.has_writes)

    @property
    def _is_stuck(self) -> bool:
        """Whether the server refused something: nothing new is read until that is stored."""
        return self._are_notes_refused or self._outgoing.is_refused

    def _may_read(self) -> bool:
        """Nothing new is read while too much is held, or while the server refuses writes or is far behind."""
        was_congested, self._is_congested = self._is_congested, self._relay.is_full
        if self._is_congested and not was_congested:
            self._emit(RelayCongested(self._shard, self._relay.held))
        return not (self._is_congested or self._is_stuck or self._outgoing.has_writes)

    def _decide(self) -> None:
        taken, self._taken = self._taken, []
        relay = self._relay
        for entry in taken:
            relay.offer(entry)
        for applied in relay.changes():
            self._emit(plan_changed(self._shard, applied))
        self._notes += relay.notes()
        fates, batch = relay.fates(), relay.batch()
        if fates or batch.kept:
            self._outgoing.add_fates(fates)
            self._emit(count_fates(self._shard, fates, batch, self._now_us()))

    def _land(self, flight: list[bytes]) -> None:
        """Process the replies to a flight, and find what may be acknowledged."""
        if not flight:
            return
        had_acks, had_writes = self._outgoing.land(self._line.receive(len(flight)))
        if had_acks:
            self._failpoint("acked")
        if had_writes:
            self._failpoint("put-out")
        self._outgoing.acknowledge(self._relay.may_ack())

    def _store_notes(self) -> None:
        """Copy control entries under their own ids: all or none, because a later id blocks an earlier one."""
        if not self._notes:
            return
        pipe = self._client.pipeline(transaction=True)
        for note in self._notes:
            pipe.xadd(self._control, {keys.CONTROL: note.control}, id=note.entry)
        try:
            replies = pipe.execute(raise_on_error=False)
        except ResponseError:  # the transaction was not begun: out of memory
            self._are_notes_refused = True
            return
        for note, reply in zip(self._notes, replies, strict=True):
            if isinstance(reply, ResponseError) and not self._is_copied(note):
                raise Overtaken  # nothing that was decided after it is stored yet
            self._relay.confirm(note.entry)
        self._notes.clear()
        self._are_notes_refused = False
        self._outgoing.acknowledge(self._relay.may_ack())
        self._failpoint("noted")

    def _is_copied(self, note: Note) -> bool:
        """Whether an earlier session has copied this very control entry."""
        found = decoded(self._client.xrange(self._control, min=note.entry, max=note.entry))
        return found == [(note.entry, {keys.CONTROL: note.control})]

    def _rest(self) -> None:
        """Wait until something is new or due, but not long."""
        if self._relay.held:
            self._failpoint("holding")
        retry_ms = _ACKS_WAIT_MS if self._outgoing.has_acks else _IDLE_MS
        due_us = self._relay.next_due_us()
        if due_us is not None:
            retry_ms = min(retry_ms, (due_us - self._now_us()) // 1000)
        if self._is_stuck:
            time.sleep(PAUSE_S)
        elif retry_ms <= 0:
            return  # and 0 would mean for ever
        elif self._relay.is_full:
            time.sleep(retry_ms / 1000)
        else:
            self._line.ask(("XREAD", "COUNT", 1, "BLOCK", retry_ms, "STREAMS", self._outbox, self._last))

    # Taking over

    def _found_group(self) -> None:
        try:
            self._client.xgroup_create(self._outbox, GROUP, id="0")  # no MKSTREAM: a lost outbox is not made anew
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        [group] = [group for group in self._client.xinfo_groups(self._outbox) if group["name"] == GROUP.encode()]
        self._last = group["last-delivered-id"].decode()

    def _remember(self) -> None:
        """All control entries that were copied."""
        after, page = "-", [None]
        while page:
            [page] = self._lease.transact(("XRANGE", self._control, after, "+", "COUNT", _PAGE))
            for entry in _entries(page):
                self._relay.remember(entry.id, read_control(entry.control))
                self._lease.keep()  # a plan of many faults takes a while to read
                after = f"({entry.id}"

    def _redo(self) -> int:
        """Record, claim and decide everything that is pending and not ours, in the outbox's order. Returns how many.

        Relays have passed over an entry that a person took by hand: entries after it may be decided already.
        """
        after, redone = "-", 0
        while rows := self._lease.transact(("XPENDING", self._outbox, GROUP, after, "+", BATCH))[0]:
            after = f"({rows[-1][0].decode()}"
            ids = [entry.decode() for entry, consumer, _, _ in rows if consumer != self._consumer]
            if not ids:
                continue
            recording = ("XADD", self._fates, "*", keys.REDO, _encode(ids))
            claiming = ("XCLAIM", self._outbox, GROUP, self._consumer, 0, *ids)
            _, claimed = self._lease.transact(recording, claiming)
            passed_over = {entry.decode() for entry, consumer, _, _ in rows if not consumer.startswith(_CONSUMER)}
            for entry in _entries(claimed):
                if entry.control is not None and entry.id in passed_over:
                    self._relay.offer_late(entry)
                else:
                    self._taken.append(entry)
            self._failpoint("taken")
            self._step(self._now_us(), is_reading=False)
            redone += len(ids)
        return redone

    def _forget_consumers(self) -> None:
        """Delete the consumers of ended sessions: they can read no more, because the lease is ours."""
        ended = [
            consumer["name"]
            for consumer in self._client.xinfo_consumers(self._outbox, GROUP)
            if consumer["name"].startswith(_CONSUMER) and not consumer["pending"]
        ]
        names = [name for name in ended if name != self._consumer]
        self._lease.transact(*[("XGROUP", "DELCONSUMER", self._outbox, GROUP, name) for name in names])

    # Chores

    def _do_chores(self) -> None:
        now_us = time.monotonic_ns() // 1000
        if now_us >= self._chores_due_us or self._since_chores >= _CHORES_EVERY:
            self._chores_due_us = now_us + _CHORES_EVERY_US
            self._since_chores = 0
            self._measure_clock()
            self._tidy_pending()

    def _now_us(self) -> int:
        """The server's clock, from which every deadline counts."""
        return time.monotonic_ns() // 1000 + self._clock_offset_us

    def _measure_clock(self) -> None:
        """The server has read its clock before the reply is here: so ours is never ahead of it, and no copy is early,
        however slow the reply was."""
        seconds, microseconds = self._client.time()
        self._clock_offset_us = seconds * 1_000_000 + microseconds - time.monotonic_ns() // 1000

    def _tidy_pending(self) -> None:
        """Redo what another consumer took (no relay can, but a person may). Trim the outbox below the oldest pending
        entry; with none pending, below the last read."""
        pending = self._client.xpending(self._outbox, GROUP)
        if any(consumer["name"] != self._consumer for consumer in pending["consumers"]):
            self._emit(RelayResumed(self._shard, self._redo()))
        self._client.xtrim(self._outbox, minid=pending["min"] or self._last, approximate=True)


def _fresh(reply: Any) -> list[OutboxEntry]:
    """The entries in a raw reply to XREADGROUP of a single stream."""
    return [] if reply is None else _entries(*reply.values())


def _entries(raw: list[Any]) -> list[OutboxEntry]:
    """The entries in a raw reply of the server. A deleted one has no fields."""
    entries = []
    for name, flat in raw:
        match flat:  # what robots write is by far the most frequent
            case [keys.ENVELOPE, frame]:
                entry = OutboxEntry(name.decode(), frame)
            case _:
                fields = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
                wanted = map(fields.get, (keys.ENVELOPE, keys.CONTROL))
                entry = OutboxEntry(name.decode(), *wanted)
        entries.append(entry)
    return entries
