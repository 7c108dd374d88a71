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
from robots.messages import Summary, encode_message, kind_of, parts_of
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
        self._clock = env.clock
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
        self._report(result, envelope, outgoing)

    def _report(self, result: SendResult, envelope: Envelope, outgoing: OutgoingMessage) -> None:
        exchange, message, cause = envelope.exchange.hex(), outgoing.message, outgoing.cause
        waited_us = self._clock.monotonic_us() - outgoing.offered_us
        attempt = message.attempt if isinstance(message, Summary) else 0
        replied_to = None if cause is None else (cause.incarnation, cause.sequence, cause.copy)
        if result is SendResult.SENT:
            self._emit(
                MessageSent(
                    receiver=envelope.receiver,
                    sequence=envelope.sequence,
                    kind=envelope.kind,
                    exchange=exchange,
                    parts=len(parts_of(message)),
                    size=len(envelope.body),
                    waited_us=waited_us,
                    held=outgoing.held,
                    digest=outgoing.digest,
                    attempt=attempt,
                    cause=replied_to,
                )
            )
            return
        self._emit(
            MessageDropped(
                receiver=envelope.receiver,
                sequence=envelope.sequence,
                kind=envelope.kind,
                exchange=exchange,
                reason=f"the outbox is {result.value}",
                waited_us=waited_us,
                attempt=attempt,
                cause=replied_to,
            )
        )
        self._on_drop()
