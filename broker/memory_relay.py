"""The driver around the relay's mind for a memory server: what broker/streams/relay.py is live. It decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from broker.memory import MemoryServer
from broker.plan import decode_control
from broker.relay import OutboxEntry, Relay, count_fates, format_id, parse_id
from telemetry.events import AnyEvent, PlanChanged

BATCH: Final = 256  # entries taken at once, as the live relay does


class MemoryRelay:
    """One shard's relay. It begins with what an earlier one left pending."""

    def __init__(self, server: MemoryServer, run: str, shard: int, seed: int, emit: Callable[[AnyEvent], None]) -> None:
        self._server = server
        self._shard = shard
        self._outbox = server.outboxes[shard]
        self._relay = Relay(run, seed)
        self._emit = emit
        for entry, control in self._outbox.controls:
            self._relay.remember(entry, control)
        if self._outbox.pending:
            self._outbox.fates.append([format_id(entry) for entry in self._outbox.pending])
            self._offer(list(self._outbox.pending.values()))

    async def run(self) -> None:
        """Relay for ever."""
        while True:
            self.step()
            if not self._outbox.fresh:
                await self._outbox.bell.sleep(self._patience_us())

    def step(self) -> None:
        """Take one batch from the outbox, and put out whatever is due."""
        fresh = self._outbox.fresh
        batch = [fresh.popleft() for _ in range(min(BATCH, len(fresh)))]
        for entry in batch:
            self._outbox.pending[entry.id] = entry
        self._offer(batch)
        self._release(self._server.clock.wall_us())

    def drain(self) -> None:
        """Decide everything that stands in the outbox, and put out all held copies at once: the run is over."""
        while self._outbox.fresh:
            self.step()
        self._release(None)

    def _offer(self, batch: list[OutboxEntry]) -> None:
        for entry in batch:
            self._relay.offer(entry)
        for change in self._relay.changes():
            self._emit(PlanChanged(self._shard, tuple(planned.text for planned in change.faults)))
        fates = self._relay.fates()
        if fates:
            self._outbox.fates.extend(fates)
            for fate in fates:
                self._relay.confirm(parse_id(fate.entry))
            self._emit(count_fates(self._shard, fates))

    def _release(self, now_us: int | None) -> None:
        relay = self._relay
        for note in relay.notes():
            self._outbox.controls.append((note.entry, decode_control(note.control)))
            relay.confirm(note.entry)
        horizon = now_us if now_us is not None else (1 << 62)
        for copy in relay.due(horizon):
            self._server.deliver(copy)
            relay.confirm(copy.entry)
        for entry in relay.may_ack():
            self._outbox.pending.pop(entry, None)

    def _patience_us(self) -> int | None:
        due = self._relay.next_due_us()
        return None if due is None else max(0, due - self._server.clock.wall_us())
