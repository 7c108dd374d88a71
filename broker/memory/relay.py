"""The driver around the relay's core for a memory server, as broker/streams/relay/driver.py is for Redis.

It goes in the same steps: take a batch; store the notes; store fates and copies; only then acknowledge. `failpoint` is
called with the name of each step that is done; a test may let the relay die there, and the next one begins with what
is pending, and records that first. It decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from broker.control_entries import decode_control
from broker.memory.server import MemoryServer, wait_for_arrival
from broker.relay.core import (
    BATCH,
    NEVER_US,
    Failpoint,
    Fate,
    OutboxEntry,
    Relay,
    count_fates,
    no_failpoint,
    plan_changed,
)
from telemetry.events import AnyEvent, RelayCongested

_PAUSE_S: Final = 0.01  # between two polls of a server that is away


class MemoryRelay:
    """One shard's relay around a new `core`. It begins with what an earlier one left pending."""

    def __init__(
        self,
        server: MemoryServer,
        shard: int,
        core: Relay,
        emit: Callable[[AnyEvent], None],
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._server = server
        self._shard = shard
        self._outbox = server.outboxes[shard]
        self._relay = core
        self._emit = emit
        self._failpoint = failpoint
        self._is_congested = False
        self._fates: list[Fate] = []  # not stored yet
        for entry, control in self._outbox.controls:
            self._relay.remember(entry, control)
        if self._outbox.pending:
            server.record(shard, redo=list(self._outbox.pending))
            self._offer(list(self._outbox.pending.values()))

    async def run(self) -> None:
        """Relay for ever; not while the server is away."""
        while True:
            if self._server.is_away:
                await asyncio.sleep(_PAUSE_S)
                continue
            self.step()
            if self._relay.is_full or not self._outbox.fresh:
                await wait_for_arrival(self._outbox.arrived, self._next_due_us())

    def step(self) -> None:
        """Take one batch from the outbox, and put out whatever is due."""
        self._take_batch()
        self._put_out(self._server.clock.wall_us())

    def drain(self) -> None:
        """Decide everything that stands in the outbox, and put out all held copies at once: the run is over.

        What a partition holds back, and no plan has freed, stays pending.
        """
        self._put_out(NEVER_US)
        while self._outbox.fresh:
            self._take_batch()
            self._put_out(NEVER_US)

    def _take_batch(self) -> None:
        """Nothing while too much is held: the server keeps it as well."""
        was_congested, self._is_congested = self._is_congested, self._relay.is_full
        if self._is_congested:
            if not was_congested:
                self._emit(RelayCongested(self._shard, self._relay.held))
            return
        fresh = self._outbox.fresh
        batch = [fresh.popleft() for _ in range(min(BATCH, len(fresh)))]
        for entry in batch:
            self._outbox.pending[entry.id] = entry
        self._failpoint("taken")
        self._offer(batch)

    def _offer(self, batch: list[OutboxEntry]) -> None:
        for entry in batch:
            self._relay.offer(entry)
        for applied in self._relay.changes():
            self._emit(plan_changed(self._shard, applied))
        fates, offered = self._relay.fates(), self._relay.batch()
        if fates or offered.kept:
            self._fates += fates
            self._emit(count_fates(self._shard, fates, offered, self._server.clock.wall_us()))

    def _put_out(self, now_us: int) -> None:
        relay = self._relay
        for note in relay.notes():
            self._note(note.entry, note.control)
            relay.confirm(note.entry)
        self._failpoint("noted")
        fates, self._fates = self._fates, []
        if fates:
            self._server.record(self._shard, fates)
        relay.confirm(*(fate.entry for fate in fates))
        for copy in relay.due(now_us):
            self._server.deliver(copy)
            relay.confirm(copy.entry)
        self._failpoint("put-out")
        for entry in relay.may_ack():
            self._outbox.pending.pop(entry, None)
        self._failpoint("acked")
        if relay.held:
            self._failpoint("holding")

    def _note(self, entry: str, frame: bytes) -> None:
        """Copy a control entry, unless an earlier relay has: then this is a redo."""
        controls = self._outbox.controls
        if all(noted != entry for noted, _ in controls):
            controls.append((entry, decode_control(frame)))

    def _next_due_us(self) -> int | None:
        due = self._relay.next_due_us()
        return None if due is None else max(0, due - self._server.clock.wall_us())
