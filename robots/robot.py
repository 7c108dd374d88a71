"""A robot: its birth, its five workers and two ports wired by channels, and its end. The same live and simulated.

A birth is stored in the journal first (this decides between two lives that try), then in the birth stream, then in the
outbox. Nothing is sent before all three. State that must survive a worker's crash is created here and lent to workers.

A life ends at the order `stop`, or when it is recalled because the robot is to live elsewhere. A recalled life reads
nothing new from its inbox, and first finishes what it merges.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Any, Final

import msgspec

from broker.control_entries import Birth
from broker.errors import Fenced, JournalLost, RegisterLost, Unavailable
from broker.ports.robot import FleetRow, Order, Ports
from robots.channel import Channel, Watch
from robots.components import STANDARD, Components
from robots.env import Env, LifeId
from robots.journal import Born, Entry, PartKept, decode_entry, encode_entry, parts_in
from robots.knowledge import Knowledge, Snapshot, bitmap_of
from robots.peers import Peers, contacts
from robots.restart_budget import BudgetSpent, down_us, may_be_born
from robots.run.deal import Terms, decode_terms
from robots.supervision import Child, GiveUp, RestartPolicy, until_answered
from robots.workers.convergence_detector import ConvergenceDetector
from robots.workers.gossip_initiator import GossipInitiator, timing_of
from robots.workers.inbox_reader import Deduplicator, InboxReader, Unacknowledged
from robots.workers.mailbox import OutgoingMessage, PartsReceived, PeerEqual, PeerHeard, Quiet, SummaryReceived, Ticked
from robots.workers.outbox_writer import OutboxWriter
from robots.workers.quiescence_detector import QuiescenceDetector
from robots.workers.secret_merger import SecretMerger
from robots.workers.summary_processor import SummaryProcessor
from telemetry.clock import Clock
from telemetry.events import (
    RECALLED,
    AnyEvent,
    ChannelPressure,
    EvidenceLost,
    JournalMended,
    RobotBorn,
    RobotFenced,
    RobotLeft,
    RobotRecovered,
    RobotStarted,
    ServerForgot,
    WorkerGaveUp,
)
from telemetry.pipeline import Emitter, Next

READ_US: Final = 1_000_000  # the longest wait of one read of the orders
FINISH_US: Final = 500_000  # for a recalled life to process what is unacknowledged
POLL_S: Final = 0.005  # how often a recalled life checks whether it has


class Outside(msgspec.Struct, frozen=True):
    """Everything that a life gets from its process: ports, clock, chance, and `sink`, the handler of its events.

    `nonce` differs between any two lives of a robot, even of the same incarnation. `recalled` is set when the life is
    to end soon and in order: the robot is to live elsewhere. `has_server_forgotten` says whether, since the last call,
    events of this life were found missing that the server had stored.
    """

    ports: Ports
    clock: Clock
    chance: Random
    nonce: str
    sink: Next
    policy: RestartPolicy = RestartPolicy()
    recalled: Watch[bool] = msgspec.field(default_factory=lambda: Watch(False))
    has_server_forgotten: Callable[[], bool] = lambda: False


async def live(run: str, robot: str, outside: Outside, components: Components = STANDARD) -> str:
    """One life of `robot`, made of `components`, from its birth to the order `stop`. Returns the order's reason;
    RECALLED when it was recalled, even before its birth.

    Raises BudgetSpent when it died too often to be born again, Fenced when a later life exists, JournalLost, GaveUp
    when its workers crash too often, Unavailable.
    """
    terms, orders = await _terms(outside.ports)
    emitter = Emitter(run, robot, 0, outside.clock, outside.sink)
    for order in orders:
        if order.order == "stop":  # the run is over: no life begins
            emitter.emit(RobotLeft(order.text))
            return order.text
    try:
        fleet_rows_so_far = await _await_permission(robot, outside, emitter.emit)
        if outside.recalled.value:
            return RECALLED
        entries, emitter.incarnation = await _be_born(robot, outside)
        dead_us = down_us(fleet_rows_so_far, robot, emitter.incarnation - 1, outside.clock.wall_us())
        env = Env(outside.clock, outside.chance, emitter.emit)
        life = Life(LifeId(run, robot, emitter.incarnation), terms, entries, orders, outside, components, env)
        if dead_us is not None:
            emitter.emit(RobotRecovered(dead_us))
        reason = await life.run()
    except Fenced as fenced:
        emitter.emit(RobotFenced(str(fenced)))
        raise
    except JournalLost:
        emitter.emit(EvidenceLost("journal"))
        raise
    emitter.emit(RobotLeft(reason))
    return reason


async def _await_permission(robot: str, outside: Outside, emit: Callable[[AnyEvent], None]) -> list[FleetRow]:
    """Apply the restart policy before birth: wait for its delay. Returns the rows of the fleet log. Raises BudgetSpent,
    Unavailable."""
    rows = await outside.ports.fleet.rows()
    now_us = outside.clock.wall_us()
    decision = may_be_born(rows, robot, outside.policy, now_us, outside.chance)
    if isinstance(decision, GiveUp):
        emit(WorkerGaveUp(robot, decision.crashes))
        raise BudgetSpent(robot)
    if decision is not None:
        await asyncio.sleep(decision.delay_us / 1_000_000)
    return rows


async def _terms(ports: Ports) -> tuple[Terms, list[Order]]:
    """The terms in the order `dealt`, and the orders that came with it; waits for them. Raises Unavailable."""
    while True:
        orders = await ports.orders.read(READ_US)
        if orders:
            return decode_terms(orders[0].content), orders[1:]


async def _be_born(robot: str, outside: Outside) -> tuple[list[Entry], int]:
    """Claim the next incarnation. Returns the journal of earlier lives, and the incarnation."""
    ports = outside.ports
    rows = await ports.journal.replay()
    incarnation = rows[-1].incarnation + 1
    await ports.journal.append(incarnation, [encode_entry(Born(outside.nonce))])
    await ports.register.announce_birth(incarnation)
    await ports.outbox.announce(Birth(robot, incarnation, outside.nonce))
    return [decode_entry(row.content) for row in rows], incarnation


class Life:
    """One life's channels and workers."""

    def __init__(
        self,
        life: LifeId,
        terms: Terms,
        entries: list[Entry],
        orders: list[Order],
        outside: Outside,
        components: Components,
        env: Env,
    ) -> None:
        self._life = life
        self._terms = terms
        self._orders = [order for order in orders if order.order != "crash"]  # earlier lives have handled those
        self._outside = outside
        self._components = components
        self._env = env
        self._emit = env.emit
        self._reason = ""
        self._foreign = 0  # entries in the journal, as far as was reported
        self._replayed = len(entries)
        self._knowledge = Watch(_remember(entries))
        self._started = Watch(False)
        self._drained = Watch(False)
        self._summaries: Channel[SummaryReceived] = self._channel("summaries")
        self._parts: Channel[PartsReceived] = self._channel("parts")
        self._peers_heard: Channel[PeerHeard] = self._channel("peers_heard")
        self._outgoing: Channel[OutgoingMessage] = self._channel("outgoing")
        self._signals: Channel[Ticked | PeerEqual] = self._channel("signals")
        self._quiet: Watch[Quiet | None] = Watch(None)
        self._unacknowledged = Unacknowledged(outside.ports.inbox)
        self._deduplicator = Deduplicator()
        self._mergers = itertools.count()
        self._sequences: dict[str, int] = {}
        self._unsent = itertools.count(1)
        self._exchange_ids = map(life.exchange_id, itertools.count(1))
        known = contacts(int(life.robot[1:]) % terms.robots, terms.robots, env.chance)
        dealt = bitmap_of(entry.part.index for entry in entries if isinstance(entry, PartKept) and entry.cause is None)
        self._peers = Peers(life.robot, known, dealt, env.chance)
        self._supervisor = components.supervisor(self._children(), outside.policy, env, fatal=(Fenced, JournalLost))

    async def run(self) -> str:
        """Live until the order `stop`, or until recalled. Returns the reason."""
        self._emit(RobotBorn(self._knowledge.value.count, self._replayed))
        await self._supervisor.run()
        with suppress(Unavailable):  # an unacknowledged entry is delivered again, which does no harm
            await self._outside.ports.inbox.flush()
        return self._reason

    def _children(self) -> list[Child]:
        """The supervision tree: each child is created anew when it crashes."""
        return [
            Child("inbox_reader", lambda: self._inbox_reader().run()),
            Child("summary_processor", lambda: self._summary_processor().run()),
            Child("secret_merger", lambda: self._secret_merger().run()),
            Child("gossip_initiator", self._gossip),
            Child("quiescence_detector", lambda: self._quiescence_detector().run()),
            Child("convergence_detector", lambda: self._convergence_detector().run()),
            Child("outbox_writer", lambda: self._outbox_writer().run()),
            Child("orders", self._follow_orders),
            Child("recall", self._follow_recall),
        ]

    def _inbox_reader(self) -> InboxReader:
        return self._components.inbox_reader(
            me=self._life.robot,
            unacknowledged=self._unacknowledged,
            deduplicator=self._deduplicator,
            summaries=self._summaries,
            parts=self._parts,
            peers_heard=self._peers_heard,
            drained=self._drained,
            env=self._env,
        )

    def _summary_processor(self) -> SummaryProcessor:
        return self._components.summary_processor(
            summaries=self._summaries,
            knowledge=self._knowledge,
            outgoing=self._outgoing,
            acknowledge=self._unacknowledged.acknowledge,
            env=self._env,
        )

    def _secret_merger(self) -> SecretMerger:
        return self._components.secret_merger(
            parts=self._parts,
            knowledge=self._knowledge,
            journal=self._outside.ports.journal,
            incarnation=self._life.incarnation,
            is_successor=next(self._mergers) > 0,
            acknowledge=self._unacknowledged.acknowledge,
            env=self._env,
        )

    def _gossip_initiator(self) -> GossipInitiator:
        return self._components.gossip_initiator(
            exchange_ids=self._exchange_ids,
            timing=timing_of(self._terms.tick_us, self._terms.median_delay_us, self._terms.robots),
            peers=self._peers,
            knowledge=self._knowledge,
            peers_heard=self._peers_heard,
            outgoing=self._outgoing,
            signals=self._signals,
            env=self._env,
        )

    def _quiescence_detector(self) -> QuiescenceDetector:
        return self._components.quiescence_detector(
            signals=self._signals,
            knowledge=self._knowledge,
            drained=self._drained,
            quiet=self._quiet,
            quiet_ticks=self._terms.quiet_ticks,
            env=self._env,
        )

    def _convergence_detector(self) -> ConvergenceDetector:
        return self._components.convergence_detector(
            quiet=self._quiet,
            knowledge=self._knowledge,
            journal=self._outside.ports.journal,
            register=self._outside.ports.register,
            incarnation=self._life.incarnation,
            env=self._env,
        )

    def _outbox_writer(self) -> OutboxWriter:
        return self._components.outbox_writer(
            life=self._life,
            sequences=self._sequences,
            outgoing=self._outgoing,
            outbox=self._outside.ports.outbox,
            on_drop=lambda: self._report_drop("outbox", next(self._unsent)),
            env=self._env,
        )

    async def _gossip(self) -> None:
        """Gossip begins at the order `go`."""
        await self._started.until(bool)
        await self._gossip_initiator().run()

    async def _follow_orders(self) -> None:
        """Start gossip at `go`, crash a worker at `crash`, end the life at `stop`."""
        while True:
            for order in self._orders:
                if order.order == "go" and not self._started.value:
                    self._emit(RobotStarted())
                    self._started.set(True)
                elif order.order == "crash":
                    self._crash(order.text)
                elif order.order == "stop":
                    self._reason = order.text
                    self._supervisor.stop()
                    return
            self._report_foreign()
            self._orders = await until_answered(lambda: self._outside.ports.orders.read(READ_US))
            await self._restore()

    async def _restore(self) -> None:
        """Store again what the server forgot of this life, and report that it forgot something. Done after each read of
        the orders: every second, after an outage, and before this life ends by an order."""
        ports = self._outside.ports
        if self._outside.has_server_forgotten():
            self._emit(ServerForgot("events"))
        if ports.outbox.take_forgotten():
            self._emit(ServerForgot("envelopes"))
        with suppress(Unavailable):  # after the next read
            if await ports.journal.restore():
                self._emit(ServerForgot("entries"))
        with suppress(Unavailable, RegisterLost):  # a birth stream that is gone is found by the write, if there is one
            if await ports.register.restore_birth():
                self._emit(ServerForgot("birth"))

    async def _follow_recall(self) -> None:
        """Once recalled: read nothing new, wait until dispatched entries are acknowledged, but not long, and end the
        life."""
        await self._outside.recalled.until(bool)
        clock = self._outside.clock
        deadline_us = clock.monotonic_us() + FINISH_US
        while not (self._supervisor.retire("inbox_reader") and self._unacknowledged.is_settled):
            if clock.monotonic_us() >= deadline_us:
                break  # perhaps the server is away; an unacknowledged entry is delivered again
            await asyncio.sleep(POLL_S)
        self._reason = self._reason or RECALLED  # the order `stop` may have come before
        self._supervisor.stop()

    def _report_foreign(self) -> None:
        foreign = self._outside.ports.journal.foreign
        if foreign > self._foreign:
            self._foreign = foreign
            self._emit(JournalMended(foreign))

    def _crash(self, target: str) -> None:
        """Crash the worker that the order names, if it is one of this robot's."""
        robot, _, worker = target.partition("/")
        if robot == self._life.robot:
            self._supervisor.crash(worker)

    def _channel(self, name: str) -> Channel[Any]:
        return Channel(name, self._report_drop)

    def _report_drop(self, channel: str, dropped: int) -> None:
        if dropped & (dropped - 1) == 0:  # 1, 2, 4, 8 …: a storm takes only a few events
            self._emit(ChannelPressure(channel, dropped))


def _remember(entries: Iterable[Entry]) -> Snapshot:
    """The knowledge that a journal holds."""
    knowledge = Knowledge()
    return knowledge.learn(knowledge.news(parts_in(entries)))
