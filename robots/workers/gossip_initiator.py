"""Begins exchanges and completes them: a summary to a few peers every tick, retransmissions, and the update that an
answer requests. All timers of the protocol live here; parts are never merged here.

The protocol is R2: every jittered tick to two peers from a shuffled list, up to two retransmissions inside the tick,
hot parts in the summary, and passive once no exchange can bring anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from robots.channel import Channel, Watch
from robots.env import Env
from robots.knowledge import Snapshot, from_bytes, indices_of, to_bytes
from robots.messages import Answer, Summary, Update, delta, hot_parts
from robots.peers import Peers
from robots.workers.mailbox import OutgoingMessage, PeerEqual, PeerHeard, Ticked
from telemetry.events import ExchangeEnded, RobotPassive, TicksExecuted

FANOUT: Final = 2
FEW_ROBOTS: Final = 3  # up to so many, every robot begins exchanges with all others in every tick
JITTER: Final = 0.2  # of a tick, in both directions
RETRANSMISSIONS: Final = 2
OPEN_LIMIT: Final = 4
HOT_TICKS: Final = 2
PASSIVE_TICKS: Final = 10  # one summary in so many ticks
RTT_SAMPLES: Final = 32
REMEMBERED: Final = 256  # ended exchanges: a late answer to one of them still counts
MOST_DOUBLINGS: Final = 4  # of the timeout, while no peer answers
REPORTED_TICKS: Final = 5  # executed, in one report


Outcome = Literal["equal", "answered", "timeout"]


class Timing(msgspec.Struct, frozen=True):
    """How fast a robot gossips: the tick, the shortest retransmission timeout, and exchanges begun in one tick."""

    tick_us: int
    rto_floor_us: int
    fanout: int


def timing_of(tick_us: int, median_delay_us: int, robots: int) -> Timing:
    """The timing in a run of so many robots, under a plan with that median delay."""
    return Timing(tick_us, 2 * median_delay_us, OPEN_LIMIT if robots <= FEW_ROBOTS else FANOUT)


class _Exchange(msgspec.Struct):
    """An open exchange."""

    peer: str
    known: int  # bitmap in the first summary: the peer holds what its answer does not want of it
    sent_us: list[int]  # when each attempt's summary was sent
    retransmit_us: int
    rto_us: int
    ends_us: int


class GossipInitiator:
    """knowledge, peers_heard → outgoing, signals. `exchange_ids` never ends, and outlives the initiator's crashes."""

    def __init__(
        self,
        exchange_ids: Iterator[bytes],
        timing: Timing,
        peers: Peers,
        knowledge: Watch[Snapshot],
        peers_heard: Channel[PeerHeard],
        outgoing: Channel[OutgoingMessage],
        signals: Channel[Ticked | PeerEqual],
        env: Env,
    ) -> None:
        self._exchange_ids = exchange_ids
        self._timing = timing
        self._peers = peers
        self._knowledge = knowledge
        self._peers_heard = peers_heard
        self._outgoing = outgoing
        self._signals = signals
        self._clock = env.clock
        self._chance = env.chance
        self._emit = env.emit
        self._open: dict[bytes, _Exchange] = {}
        self._ended: dict[bytes, list[int]] = {}  # exchange → when its unanswered summaries were sent; [] = answered
        self._unanswered = 0  # exchanges that failed since the last answer
        self._round_trips_us: deque[int] = deque(maxlen=RTT_SAMPLES)
        self._seen = 0  # bitmap of what was known at the last tick
        self._hot: deque[int] = deque(maxlen=HOT_TICKS)  # bitmaps of what was new at the last ticks
        self._passive_for: int | None = None
        self._unreported = 0  # ticks

    async def run(self) -> None:
        next_tick = self._clock.monotonic_us() + int(self._chance.random() * self._timing.tick_us)
        while True:
            now = self._clock.monotonic_us()
            timers = [exchange.retransmit_us for exchange in self._open.values()]
            news = await self._peers_heard.get_within(min([next_tick, *timers]) - now)
            if news is not None:
                self._handle(news)
            now = self._clock.monotonic_us()
            self._retransmit(now)
            if now >= next_tick:
                self._count_tick()
                self._tick(now)
                next_tick = now + self._jittered_tick()

    def _jittered_tick(self) -> int:
        return round(self._timing.tick_us * (1 + JITTER * (2 * self._chance.random() - 1)))

    def _count_tick(self) -> None:
        self._unreported += 1
        if self._unreported == REPORTED_TICKS:
            self._emit(TicksExecuted(REPORTED_TICKS))
            self._unreported = 0

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
            return self._timing.fanout
        if self._passive_for is None:
            self._emit(RobotPassive())
        self._passive_for = 0 if self._passive_for is None else self._passive_for + 1
        return 1 if self._passive_for % PASSIVE_TICKS == 0 else 0

    def _is_passive(self, mine: Snapshot) -> bool:
        """No exchange can bring anything, and enough peers hold the parts that this robot was dealt."""
        return mine.complete and self._peers.hold_dealt(min(2, self._peers.alive))

    def _begin(self, peer: str, mine: Snapshot, now: int) -> None:
        exchange_id = next(self._exchange_ids)
        rto = self._rto_us()
        ends = now + max(2 * self._timing.tick_us, 3 * rto)
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
        now = self._clock.monotonic_us()
        self._outgoing.offer(OutgoingMessage(peer, exchange_id, summary, now, held=mine.count, digest=mine.digest))

    def _retransmit(self, now: int) -> None:
        """Send a summary again if no answer came in time; end an exchange when its time is over."""
        for exchange_id, exchange in list(self._open.items()):
            if now < exchange.retransmit_us:
                continue
            if now >= exchange.ends_us:
                del self._open[exchange_id]
                self._remember_ended(exchange_id, exchange.sent_us)
                self._peers.suspect(exchange.peer)
                self._unanswered += 1
                self._emit_ended(exchange_id, exchange, "timeout", 0)
            elif len(exchange.sent_us) > RETRANSMISSIONS:
                exchange.retransmit_us = exchange.ends_us
            else:
                self._send_summary(exchange_id, exchange.peer, len(exchange.sent_us))
                exchange.sent_us.append(now)
                exchange.rto_us *= 2
                exchange.retransmit_us = min(now + exchange.rto_us, exchange.ends_us)

    def _handle(self, news: PeerHeard) -> None:
        holds = news.holds
        exchange = self._open.get(news.exchange)
        if news.answer is not None and exchange is not None:
            holds |= exchange.known if news.answer.equal else exchange.known & ~from_bytes(news.answer.want)
        self._peers.mark_alive(news.cause.sender, holds)
        self._peers.learn(news.peers)
        if news.answer is not None and self._ended.get(news.exchange) != []:
            self._conclude(news, news.answer, exchange)

    def _conclude(self, news: PeerHeard, answer: Answer, exchange: _Exchange | None) -> None:
        """The first answer of an exchange, even of one that has failed: send what it requests, and end the exchange.

        Late answers show how slow the peers are. Without them a crowded lab would send more and more summaries, and
        receive fewer and fewer answers.
        """
        self._unanswered = 0
        sent_us = exchange.sent_us if exchange is not None else self._ended.get(news.exchange, [])
        if answer.attempt < len(sent_us):
            self._round_trips_us.append(self._clock.monotonic_us() - sent_us[answer.attempt])
        self._open.pop(news.exchange, None)
        self._remember_ended(news.exchange, [])
        want = from_bytes(answer.want)
        if exchange is not None:
            self._emit_ended(news.exchange, exchange, "equal" if answer.equal else "answered", want.bit_count())
            if answer.equal:
                self._signals.offer(PeerEqual(news.exchange, exchange.known))
        if want:
            update = self._update(want)
            if update.parts:
                now = self._clock.monotonic_us()
                self._outgoing.offer(OutgoingMessage(news.cause.sender, news.exchange, update, now, cause=news.cause))

    def _emit_ended(self, exchange_id: bytes, exchange: _Exchange, outcome: Outcome, wanted: int) -> None:
        took_us = self._clock.monotonic_us() - exchange.sent_us[0]
        self._emit(ExchangeEnded(exchange.peer, exchange_id.hex(), outcome, len(exchange.sent_us), took_us, wanted))

    def _update(self, want: int) -> Update:
        """The parts of `want` (a bitmap, not empty) that are known."""
        return Update(delta(self._knowledge.value, want, self._chance.randrange(want.bit_length())))

    def _remember_ended(self, exchange_id: bytes, sent_us: list[int]) -> None:
        self._ended[exchange_id] = sent_us
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _rto_us(self) -> int:
        """The retransmission timeout: half a tick at first, then twice the 95th percentile of the round trips.

        Doubled for every OPEN_LIMIT exchanges without an answer (as RFC 6298 §5.5 does for TCP): robots that are too
        slow for their ticks must get fewer messages, or congestion collapses the lab.
        """
        doublings = min(self._unanswered // OPEN_LIMIT, MOST_DOUBLINGS)
        return max(self._usual_rto_us(), self._timing.rto_floor_us) << doublings

    def _usual_rto_us(self) -> int:
        if not self._round_trips_us:
            return self._timing.tick_us // 2
        ordered = sorted(self._round_trips_us)
        slow = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
        return max(2 * slow, self._timing.tick_us // 4)
