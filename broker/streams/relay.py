"""The relay as a process: carries a shard's entries from streams into its mind (broker/relay.py), and what it decides
back into streams.

It decides nothing. Its one rule: nothing is acknowledged before every reply about it was checked, so whatever cuts it
short (a kill, a lost reply, a server out of memory) leaves the entry pending, and it is redone. What is about to be
redone is recorded first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec
import redis
from redis.exceptions import OutOfMemoryError, ResponseError

from broker.plan import decode_control
from broker.ports import Unavailable
from broker.relay import Copy, Id, Note, OutboxEntry, Relay, count_fates, format_id, parse_id
from broker.streams import keys
from broker.streams.bulk import Command, send_in_bulk
from broker.streams.connection import connect
from broker.streams.keys import Keys
from broker.streams.mail import INBOX_LIMIT
from broker.streams.patience import OUTAGE
from broker.streams.reading import decoded, decoded_one, read_all_blocking
from telemetry.events import AnyEvent, PlanChanged, RelayResumed

GROUP: Final = "relay"
OWNER: Final = "relay"  # the same consumer in every life: its pending entries are whatever the last one left

BATCH: Final = 256  # entries in one read
_IDLE_MS: Final = 100  # between looks at `stopping`
_ACKS_WAIT_MS: Final = 5  # without work, before acknowledgements travel alone
_CHORES_EVERY_US: Final = 1_000_000
_CHORES_EVERY: Final = 8192  # entries; below what one XTRIM may remove
_PAUSE_S: Final = 0.05  # after a refused write, and between connections
_LAST_PATIENCE_S: Final = 5.0  # with a server that does not answer or refuses writes, once the run is over
_NEVER_US: Final = 1 << 62

_encode = msgspec.msgpack.Encoder().encode

Write = tuple[Command, tuple[Id, ...]]
"""A command, and the entries that it brings nearer to their acknowledgement."""


class RelayProcess:
    """One shard's relay. Nothing is connected before `run`, so it may be made before a fork."""

    def __init__(self, url: str, run: str, shard: int, seed: int, emit: Callable[[AnyEvent], None]) -> None:
        self._url = url
        self._run = run
        self._shard = shard
        self._seed = seed
        self._emit = emit

    def run(self, stopping: Callable[[], bool]) -> None:
        """Relay until `stopping()`, then until the outbox is empty; held copies are then put out at once.

        Survives a server that is away: every connection begins with what is pending. Raises Unavailable when the
        server is away or out of memory at the end for longer than a few seconds.
        """
        last_try: float | None = None
        while True:
            with connect(self._url) as client:
                tenure = _Tenure(client, self._run, self._shard, self._seed, self._emit)
                try:
                    return tenure.serve(stopping)
                except (*OUTAGE, OutOfMemoryError) as error:
                    if stopping():
                        last_try = last_try or time.monotonic() + _LAST_PATIENCE_S
                        if time.monotonic() > last_try:
                            raise Unavailable(f"relay {self._shard}: {error}") from error
            time.sleep(_PAUSE_S)


class _Tenure:
    """The relay over one connection: begins by taking over what is pending, ends with the connection."""

    def __init__(self, client: redis.Redis, run: str, shard: int, seed: int, emit: Callable[[AnyEvent], None]) -> None:
        names = Keys(run)
        self._client = client
        self._shard = shard
        self._emit = emit
        self._outbox = names.outbox(shard)
        self._control = names.control(shard)
        self._fates = names.fates(shard)
        self._inbox_of = names.inbox
        self._inboxes: dict[str, str] = {}
        self._relay = Relay(run, seed)
        self._notes: list[Note] = []  # not known to be stored
        self._writes: list[Write] = []  # refused by the server, to be tried again
        self._acks: list[str] = []  # to travel with the next pipeline
        self._clock_offset_us = 0
        self._chores_due_us = 0
        self._since_chores = 0

    def serve(self, stopping: Callable[[], bool]) -> None:
        """Relay until `stopping()` and nothing is left."""
        self._take_over()
        while not stopping():
            if self._stuck:
                time.sleep(_PAUSE_S)
            else:
                self._offer(self._read(">", self._patience_ms()))
            self._put_out(self._now_us())
            self._do_chores()
        self._drain()

    def _take_over(self) -> None:
        self._found_group()
        self._measure_clock()
        for entry, fields in read_all_blocking(self._client, self._control):
            self._relay.remember(parse_id(entry), decode_control(fields[keys.CONTROL]))
        self._relay.changes()  # told when they were met first
        cursor, redone = "0", 0
        while pending := self._read(cursor, None):
            ids = [format_id(entry.id) for entry in pending]
            self._client.xadd(self._fates, {keys.REDONE: _encode(ids)})  # refused: nothing is redone, and tried anew
            self._offer(pending)
            self._put_out(self._now_us())
            cursor = format_id(pending[-1].id)
            redone += len(pending)
        if redone:
            self._emit(RelayResumed(self._shard, redone))

    def _drain(self) -> None:
        """Decide and put out everything: the robots are gone, and nobody waits for a delay any more."""
        deadline = time.monotonic() + _LAST_PATIENCE_S
        while True:
            entries = [] if self._stuck else self._read(">", None)
            self._offer(entries)
            self._put_out(_NEVER_US)
            if self._stuck:
                if time.monotonic() > deadline:
                    raise Unavailable(f"relay {self._shard}: the server refuses writes")
                time.sleep(_PAUSE_S)
            elif not entries:
                break
        self._put_out(_NEVER_US)  # the last acknowledgements
        assert not self._relay.in_hand

    @property
    def _stuck(self) -> bool:
        """Whether the server refused something: nothing new is read until it is stored."""
        return bool(self._notes or self._writes)

    # Reading

    def _found_group(self) -> None:
        try:
            self._client.xgroup_create(self._outbox, GROUP, id="0")  # no MKSTREAM: a lost outbox is not made anew
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _read(self, after: str, block: int | None) -> list[OutboxEntry]:
        reply = self._client.xreadgroup(GROUP, OWNER, {self._outbox: after}, count=BATCH, block=block)
        entries = decoded_one(reply)
        self._since_chores += len(entries)
        return [
            OutboxEntry(parse_id(entry), fields.get(keys.ENVELOPE), fields.get(keys.CONTROL))
            for entry, fields in entries
        ]

    def _patience_ms(self) -> int | None:
        """How long a read may block: None is not at all, because 0 would be for ever."""
        patience_ms = _ACKS_WAIT_MS if self._acks else _IDLE_MS
        due_us = self._relay.next_due_us()
        if due_us is not None:
            patience_ms = min(patience_ms, (due_us - self._now_us()) // 1000)
        return patience_ms if patience_ms > 0 else None

    # Deciding

    def _offer(self, entries: list[OutboxEntry]) -> None:
        relay = self._relay
        for entry in entries:
            relay.offer(entry)
        for change in relay.changes():
            self._emit(PlanChanged(self._shard, tuple(planned.text for planned in change.faults)))
        self._notes += relay.notes()
        fates = relay.fates()
        if fates:
            record = ("XADD", self._fates, "*", keys.FATES, _encode(fates))
            self._writes.append((record, tuple(parse_id(fate.entry) for fate in fates)))
            self._emit(count_fates(self._shard, fates))

    # Writing

    def _put_out(self, now_us: int) -> None:
        """Store notes, then everything else that is due, and learn what may be acknowledged."""
        self._store_notes()
        writes = self._writes + [self._delivery(copy) for copy in self._relay.due(now_us)]
        if writes or self._acks:
            self._writes = self._store(writes)
        self._acks += [format_id(entry) for entry in self._relay.may_ack()]

    def _delivery(self, copy: Copy) -> Write:
        inbox = self._inboxes.get(copy.receiver)
        if inbox is None:
            inbox = self._inboxes[copy.receiver] = self._inbox_of(copy.receiver)
        command = ("XADD", inbox, "MAXLEN", "~", INBOX_LIMIT, "*", keys.ENVELOPE, copy.frame, keys.COPY, copy.number)
        return command, (copy.entry,)

    def _store(self, writes: list[Write]) -> list[Write]:
        """Send acknowledgements, then `writes`, in one go. Those that the server refused."""
        acks, self._acks = self._acks, []
        commands = [command for command, _ in writes]
        if acks:
            commands.insert(0, ("XACK", self._outbox, GROUP, *acks))
        replies = send_in_bulk(self._client, commands)
        if acks and isinstance(replies.pop(0), ResponseError):
            self._acks = acks
        refused: list[Write] = []
        for write, reply in zip(writes, replies, strict=True):
            if isinstance(reply, ResponseError):
                refused.append(write)
                continue
            for entry in write[1]:
                self._relay.confirm(entry)
        return refused

    def _store_notes(self) -> None:
        """Copy control entries under their own ids: all or none, or a later one would shut out an earlier one."""
        if not self._notes:
            return
        pipe = self._client.pipeline(transaction=True)
        for note in self._notes:
            pipe.xadd(self._control, {keys.CONTROL: note.control}, id=format_id(note.entry))
        try:
            replies = pipe.execute(raise_on_error=False)
        except ResponseError:  # the transaction was not begun: out of memory
            return
        notes, self._notes = self._notes, []
        for note, reply in zip(notes, replies, strict=True):
            if isinstance(reply, ResponseError) and not self._stands(note):
                self._notes.append(note)
            else:
                self._relay.confirm(note.entry)

    def _stands(self, note: Note) -> bool:
        """Whether an earlier tenure has copied this very control entry."""
        entry = format_id(note.entry)
        found = decoded(self._client.xrange(self._control, min=entry, max=entry))
        return found == [(entry, {keys.CONTROL: note.control})]

    # Chores

    def _do_chores(self) -> None:
        now_us = time.monotonic_ns() // 1000
        if now_us >= self._chores_due_us or self._since_chores >= _CHORES_EVERY:
            self._chores_due_us = now_us + _CHORES_EVERY_US
            self._since_chores = 0
            self._measure_clock()
            self._trim()

    def _now_us(self) -> int:
        """The server's clock, from which every deadline counts."""
        return time.monotonic_ns() // 1000 + self._clock_offset_us

    def _measure_clock(self) -> None:
        before_us = time.monotonic_ns() // 1000
        seconds, microseconds = self._client.time()
        after_us = time.monotonic_ns() // 1000
        self._clock_offset_us = seconds * 1_000_000 + microseconds - (before_us + after_us) // 2

    def _trim(self) -> None:
        """Forget entries of the outbox below the oldest that is not acknowledged; none pending: below the last read."""
        oldest = self._client.xpending(self._outbox, GROUP)["min"]
        if oldest is None:
            [group] = [group for group in self._client.xinfo_groups(self._outbox) if group["name"] == GROUP.encode()]
            oldest = group["last-delivered-id"]
        self._client.xtrim(self._outbox, minid=oldest, approximate=True)
