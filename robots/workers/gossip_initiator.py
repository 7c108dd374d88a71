"""Begins exchanges and sees them through: a summary to a few peers every tick, retransmissions, and the update that an
answer asks for. All timers of the protocol live here; parts are never merged here.

The protocol is R2: every jittered tick to two peers from an own shuffled list, up to two retransmissions inside the
tick, hot parts in the summary, and passive once nothing can be gained by asking.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

import msgspec

from robots.channel import Channel, Watch
from robots.knowledge import Snapshot, from_bytes, indices_of, to_bytes
from robots.messages import Answer, Summary, Update, delta, hot_parts
from robots.peers import Peers
from robots.workers.mailbox import OutgoingMessage, PeerEqual, PeerHeard, Ticked
from telemetry.clock import Clock
from telemetry.events import AnyEvent, ExchangeFailed, RobotPassive

FANOUT: Final = 2
JITTER: Final = 0.2  # of a tick, in both directions
RETRANSMISSIONS: Final = 2
OPEN_LIMIT: Final = 4
HOT_TICKS: Final = 2
PASSIVE_TICKS: Final = 10  # one summary in so many ticks
RTT_SAMPLES: Final = 32
REMEMBERED: Final = 256  # exchanges that ended: what a late answer says of them still counts
MOST_DOUBLINGS: Final = 4  # of the time to wait, while nobody answers at all


class Timers(msgspec.Struct, frozen=True):
    """The protocol's times, in microseconds. `rto_floor_us` is twice the plan's median delay."""

    tick_us: int
    rto_floor_us: int


class _Exchange(msgspec.Struct):
    """An open exchange."""

    peer: str
    known: int  # what the first summary showed: an answer that wants less of it than that tells what the peer holds
    sent_us: list[int]  # when each attempt's summary was sent
    retransmit_us: int
    rto_us: int
    ends_us: int


class GossipInitiator:
    """knowledge, heard → outbox, signs. `life` and `numbers` make exchange ids: 5 bytes of the life, 3 of a count."""

    def __init__(
        self,
        life: bytes,
        numbers: Iterator[int],
        timers: Timers,
        peers: Peers,
        few_robots: bool,
        started: Watch[bool],
        knowledge: Watch[Snapshot],
        heard: Channel[PeerHeard],
        outgoing: Channel[OutgoingMessage],
        signals: Channel[Ticked | PeerEqual],
        clock: Clock,
        chance: Random,
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self._life = life
        self._numbers = numbers
        self._timers = timers
        self._peers = peers
        self._few_robots = few_robots
        self._started = started
        self._knowledge = knowledge
        self._heard = heard
        self._outgoing = outgoing
        self._signals = signals
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._open: dict[bytes, _Exchange] = {}
        self._ended: dict[bytes, list[int]] = {}  # exchange → when its unanswered summaries were sent; [] = answered
        self._unanswered = 0  # exchanges given up since the last answer
        self._round_trips_us: deque[int] = deque(maxlen=RTT_SAMPLES)
        self._seen = 0  # what was known at the last tick
        self._hot: deque[int] = deque(maxlen=HOT_TICKS)  # bitmaps of what was new at the last ticks
        self._passive_for: int | None = None

    async def run(self) -> None:
        await self._started.until(lambda started: started)
        next_tick = self._clock.monotonic_us() + self._chance.randrange(self._timers.tick_us)
        while True:
            now = self._clock.monotonic_us()
            timers = [exchange.retransmit_us for exchange in self._open.values()]
            note = await self._heard.get_within(min([next_tick, *timers]) - now)
            if note is not None:
                self._hear(note)
            now = self._clock.monotonic_us()
            self._retransmit(now)
            if now >= next_tick:
                self._tick(now)
                next_tick = now + self._jittered_tick()

    def _jittered_tick(self) -> int:
        return round(self._timers.tick_us * (1 + JITTER * (2 * self._chance.random() - 1)))

    def _tick(self, now: int) -> None:
        mine = self._knowledge.value
        self._hot.append(mine.known & ~self._seen)
        self._seen = mine.known
        self._signals.offer(Ticked(self._peers.alive, mine.known))
        fanout = self._fanout(mine)
        busy = [exchange.peer for exchange in self._open.values()]
        for peer in self._peers.draw(min(fanout, OPEN_LIMIT - len(self._open)), busy):
            self._begin(peer, mine, now)

    def _fanout(self, mine: Snapshot) -> int:
        """How many exchanges to begin in this tick."""
        if not self._is_passive(mine):
            self._passive_for = None
            return OPEN_LIMIT if self._few_robots else FANOUT
        if self._passive_for is None:
            self._emit(RobotPassive())
        self._passive_for = 0 if self._passive_for is None else self._passive_for + 1
        return 1 if self._passive_for % PASSIVE_TICKS == 0 else 0

    def _is_passive(self, mine: Snapshot) -> bool:
        """Nothing can be gained by asking, and what only this robot was dealt is safe with others."""
        return mine.complete and self._peers.hold_dealt(min(2, self._peers.alive))

    def _begin(self, peer: str, mine: Snapshot, now: int) -> None:
        exchange_id = self._life + (next(self._numbers) & 0xFFFFFF).to_bytes(3, "big")
        rto = self._rto_us()
        ends = now + max(2 * self._timers.tick_us, 3 * rto)
        self._open[exchange_id] = _Exchange(peer, mine.known, [now], now + rto, rto, ends)
        self._send_summary(exchange_id, peer, 0)

    def _send_summary(self, exchange_id: bytes, peer: str, attempt: int) -> None:
        mine = self._knowledge.value
        hot = 0
        for bitmap in self._hot:
            hot |= bitmap
        hot |= mine.known & ~self._seen
        parts = hot_parts(mine, indices_of(hot))
        summary = Summary(to_bytes(mine.known), parts, self._peers.sample(), attempt)
        self._outgoing.offer(OutgoingMessage(peer, exchange_id, summary, held=mine.count, digest=mine.digest))

    def _retransmit(self, now: int) -> None:
        """Ask again where no answer came in time; give an exchange up when its time is over."""
        for exchange_id, exchange in list(self._open.items()):
            if now < exchange.retransmit_us:
                continue
            if now >= exchange.ends_us:
                del self._open[exchange_id]
                self._remember_ended(exchange_id, exchange.sent_us)
                self._peers.silent(exchange.peer)
                self._unanswered += 1
                self._emit(ExchangeFailed(exchange.peer, exchange_id.hex(), len(exchange.sent_us)))
            elif len(exchange.sent_us) > RETRANSMISSIONS:
                exchange.retransmit_us = exchange.ends_us
            else:
                self._send_summary(exchange_id, exchange.peer, len(exchange.sent_us))
                exchange.sent_us.append(now)
                exchange.rto_us *= 2
                exchange.retransmit_us = min(now + exchange.rto_us, exchange.ends_us)

    def _hear(self, note: PeerHeard) -> None:
        holds = note.holds
        exchange = self._open.get(note.exchange)
        if note.answer is not None and exchange is not None:
            holds |= exchange.known if note.answer.equal else exchange.known & ~from_bytes(note.answer.want)
        self._peers.heard(note.sender, holds)
        self._peers.learn(note.peers)
        if note.answer is not None and self._ended.get(note.exchange) != []:
            self._conclude(note, note.answer, exchange)

    def _conclude(self, note: PeerHeard, answer: Answer, exchange: _Exchange | None) -> None:
        """The first answer of an exchange, even one that was given up: send what it asks for, and close.

        Late answers teach how slow the others are: without them a crowded lab would ask ever more, and hear ever less.
        """
        self._unanswered = 0
        sent_us = exchange.sent_us if exchange is not None else self._ended.get(note.exchange, [])
        if answer.attempt < len(sent_us):
            self._round_trips_us.append(self._clock.monotonic_us() - sent_us[answer.attempt])
        self._open.pop(note.exchange, None)
        self._remember_ended(note.exchange, [])
        if exchange is not None and answer.equal:
            self._signals.offer(PeerEqual(note.exchange, exchange.known))
        want = from_bytes(answer.want)
        if want:
            parts = delta(self._knowledge.value, want, self._chance.randrange(want.bit_length()))
            if parts:
                self._outgoing.offer(OutgoingMessage(note.sender, note.exchange, Update(parts)))

    def _remember_ended(self, exchange_id: bytes, sent_us: list[int]) -> None:
        self._ended[exchange_id] = sent_us
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _rto_us(self) -> int:
        """How long to wait for an answer: half a tick at first, then twice the 95th percentile of the round trips.

        Doubled for every full hand of exchanges that nobody answered (RFC 6298 §5.5 does so for TCP): a lab that is
        too slow for its ticks must hear fewer questions, or it drowns in them.
        """
        doublings = min(self._unanswered // OPEN_LIMIT, MOST_DOUBLINGS)
        return max(self._usual_rto_us(), self._timers.rto_floor_us) << doublings

    def _usual_rto_us(self) -> int:
        if not self._round_trips_us:
            return self._timers.tick_us // 2
        ordered = sorted(self._round_trips_us)
        slow = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
        return max(2 * slow, self._timers.tick_us // 4)
