"""The port between the workers and the outbox: gives every envelope its number and sends it, once.

An envelope that the outbox refuses is dropped. Gaps in the numbers are legal, and the exchange's retransmission repairs
the loss.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.envelope import Envelope, encode
from broker.ports.robot import Outbox, SendResult
from robots.channel import Channel
from robots.env import Env, LifeId
from robots.messages import encode_message, kind_of, parts_of
from robots.workers.mailbox import OutgoingMessage
from telemetry.events import MessageDropped, MessageSent


class OutboxWriter:
    """outgoing → outbox. `sequences` (receiver → last number) outlives the writer's crashes: no number is used twice in
    a life. `on_drop` is called for every envelope that was not sent."""

    def __init__(
        self,
        life: LifeId,
        sequences: dict[str, int],
        outgoing: Channel[OutgoingMessage],
        outbox: Outbox,
        on_drop: Callable[[], None],
        env: Env,
    ) -> None:
        self._life = life
        self._sequences = sequences
        self._outgoing = outgoing
        self._outbox = outbox
        self._on_drop = on_drop
        self._emit = env.emit

    async def run(self) -> None:
        while True:
            await self._send(await self._outgoing.get())

    async def _send(self, outgoing: OutgoingMessage) -> None:
        sequence = self._sequences.get(outgoing.receiver, 0) + 1
        self._sequences[outgoing.receiver] = sequence
        kind = kind_of(outgoing.message)
        body = encode_message(outgoing.message)
        life = self._life
        envelope = Envelope(
            life.run, life.robot, life.incarnation, outgoing.receiver, sequence, outgoing.exchange, kind, body
        )
        result = await self._outbox.send(encode(envelope))
        if result is not SendResult.SENT:
            self._emit(MessageDropped(outgoing.receiver, kind, f"the outbox is {result.value}"))
            self._on_drop()
            return
        self._emit(
            MessageSent(
                receiver=outgoing.receiver,
                sequence=sequence,
                kind=kind,
                exchange=outgoing.exchange.hex(),
                parts=len(parts_of(outgoing.message)),
                size=len(body),
                held=outgoing.held,
                digest=outgoing.digest,
            )
        )
