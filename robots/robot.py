"""A robot: its birth, its five workers and two ports wired by channels, and its end. The same live and simulated.

A life is born in its journal first (this decides between two that try), then in its birth stream, then in its outbox;
nothing is sent before all three are stored. What must survive a worker's crash is made here and only lent to workers.

It ends at the order `stop`, or when it is recalled, to go on elsewhere: then it takes nothing new from its inbox, and
first finishes what it merges.
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
from broker.errors import Fenced, JournalLost, Unavailable
from broker.ports.robot import FleetRow, Order, Ports
from robots.channel import Channel, Watch
from robots.journal import Born, Entry, PartKept, decode_entry, encode_entry, parts_in
from robots.knowledge import Knowledge, Snapshot, bitmap_of
from robots.peers import Peers, contacts
from robots.restart_budget import BudgetSpent, down_us, may_be_born
from robots.run.deal import Terms, decode_terms
from robots.supervision import Child, GiveUp, RestartPolicy, Supervisor, until_answered
from robots.workers.convergence_detector import ConvergenceDetector
from robots.workers.gossip_initiator import GossipInitiator, Timers
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
    RobotBorn,
    RobotFenced,
    RobotLeft,
    RobotRecovered,
    RobotStarted,
    WorkerGaveUp,
)
from telemetry.pipeline import Emitter, Next

READ_US: Final = 1_000_000  # of one look at the orders
FEW_ROBOTS: Final = 3  # so few talk to all others in every tick
FINISH_US: Final = 500_000  # for a life that is recalled to deal with what it has in hand
LOOK_S: Final = 0.005  # between two looks whether it has


class Outside(msgspec.Struct, frozen=True):
    """Everything that a robot does not make itself: its ports, the time, chance, and who listens to its events.

    `nonce` tells this life from any other of the same robot, even one of the same incarnation. `recalled` is set when
    the life is to end soon, and in order: the robot is to live elsewhere.
    """

    ports: Ports
    clock: Clock
    chance: Random
    nonce: str
    sink: Next
    policy: RestartPolicy = RestartPolicy()
    recalled: Watch[bool] = msgspec.field(default_factory=lambda: Watch(False))


async def live(run: str, robot: str, outside: Outside) -> str:
    """One life of `robot`, from its birth to the order `stop`; gives the order's reason, or RECALLED when it ended, or
    was not even born, because it was recalled.

    Raises BudgetSpent when it died too often to be born again, Fenced when a later life exists, JournalLost, GaveUp
    when its workers crash too often, Unavailable.
    """
    terms, orders = await _terms(outside.ports)
    emitter = Emitter(run, robot, 0, outside.clock, outside.sink)
    for order in orders:
        if order.order == "stop":  # nobody is born into a run that is over
            emitter.emit(RobotLeft(order.text))
            return order.text
    try:
        fleet_rows_so_far = await _await_permission(robot, outside, emitter.emit)
        if outside.recalled.value:
            return RECALLED
        entries, emitter.incarnation = await _be_born(robot, outside)
        dead_us = down_us(fleet_rows_so_far, robot, emitter.incarnation - 1, outside.clock.wall_us())
        life = Life(run, robot, emitter.incarnation, terms, entries, orders, outside, emitter.emit)
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
    """Obey the policy before birth: wait as long as it says. Gives what befell the fleet; raises BudgetSpent."""
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
    """What the order `dealt` says, and the orders that came with it; waits for it."""
    while True:
        orders = await ports.orders.read(READ_US)
        if orders:
            return decode_terms(orders[0].content), orders[1:]


async def _be_born(robot: str, outside: Outside) -> tuple[list[Entry], int]:
    """Claim the next incarnation; gives what earlier lives have journalled."""
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
        run: str,
        robot: str,
        incarnation: int,
        terms: Terms,
        entries: list[Entry],
        orders: list[Order],
        outside: Outside,
        emit: Callable[[AnyEvent], None],
    ) -> None:
        self._run = run
        self._robot = robot
        self._incarnation = incarnation
        self._terms = terms
        self._orders = [order for order in orders if order.order != "crash"]  # those were for earlier lives
        self._outside = outside
        self._emit = emit
        self._reason = ""
        self._replayed = len(entries)
        self._knowledge = Watch(_remember(entries))
        self._started = Watch(False)
        self._drained = Watch(False)
        self._summaries: Channel[SummaryReceived] = self._channel("summaries")
        self._offers: Channel[PartsReceived] = self._channel("offers")
        self._heard: Channel[PeerHeard] = self._channel("heard")
        self._outgoing: Channel[OutgoingMessage] = self._channel("outgoing")
        self._signals: Channel[Ticked | PeerEqual] = self._channel("signs")
        self._quiet: Watch[Quiet | None] = Watch(None)
        self._unacknowledged = Unacknowledged(outside.ports.inbox)
        self._deduplicator = Deduplicator()
        self._mergers = itertools.count()
        self._sequences: dict[str, int] = {}
        self._unsent = itertools.count(1)
        self._exchange_numbers = itertools.count(1)
        number = int(robot[1:])
        self._life_id = (number & 0xFFFFFF).to_bytes(3, "big") + (incarnation & 0xFFFF).to_bytes(2, "big")
        known = contacts(number % terms.robots, terms.robots, outside.chance)
        dealt = bitmap_of(entry.part.index for entry in entries if isinstance(entry, PartKept) and entry.cause is None)
        self._peers = Peers(robot, known, dealt, outside.chance)
        self._supervisor = Supervisor(
            self._children(), outside.policy, outside.clock, outside.chance, emit, fatal=(Fenced, JournalLost)
        )

    async def run(self) -> str:
        """Live until the order `stop`, or until recalled; gives the reason."""
        self._emit(RobotBorn(self._knowledge.value.count, self._replayed))
        await self._supervisor.run()
        with suppress(Unavailable):  # what is not acknowledged comes again, and does no harm
            await self._outside.ports.inbox.flush()
        return self._reason

    def _children(self) -> list[Child]:
        """The supervision tree: what is made anew when it crashes."""
        return [
            Child("inbox_reader", lambda: self._inbox_reader().run()),
            Child("summary_processor", lambda: self._summary_processor().run()),
            Child("secret_merger", lambda: self._secret_merger().run()),
            Child("gossip_initiator", lambda: self._gossip_initiator().run()),
            Child("quiescence_detector", lambda: self._quiescence_detector().run()),
            Child("convergence_detector", lambda: self._convergence_detector().run()),
            Child("outbox_writer", lambda: self._outbox_writer().run()),
            Child("orders", self._follow_orders),
            Child("recall", self._follow_recall),
        ]

    def _inbox_reader(self) -> InboxReader:
        return InboxReader(
            me=self._robot,
            unacknowledged=self._unacknowledged,
            repeats=self._deduplicator,
            summaries=self._summaries,
            offers=self._offers,
            heard=self._heard,
            drained=self._drained,
            emit=self._emit,
        )

    def _summary_processor(self) -> SummaryProcessor:
        return SummaryProcessor(
            summaries=self._summaries,
            knowledge=self._knowledge,
            outgoing=self._outgoing,
            acknowledge=self._unacknowledged.acknowledge,
            chance=self._outside.chance,
        )

    def _secret_merger(self) -> SecretMerger:
        return SecretMerger(
            offers=self._offers,
            knowledge=self._knowledge,
            journal=self._outside.ports.journal,
            incarnation=self._incarnation,
            is_successor=next(self._mergers) > 0,
            acknowledge=self._unacknowledged.acknowledge,
            clock=self._outside.clock,
            emit=self._emit,
        )

    def _gossip_initiator(self) -> GossipInitiator:
        return GossipInitiator(
            life=self._life_id,
            numbers=self._exchange_numbers,
            timers=Timers(self._terms.tick_us, 2 * self._terms.median_delay_us),
            peers=self._peers,
            few_robots=self._terms.robots <= FEW_ROBOTS,
            started=self._started,
            knowledge=self._knowledge,
            heard=self._heard,
            outgoing=self._outgoing,
            signals=self._signals,
            clock=self._outside.clock,
            chance=self._outside.chance,
            emit=self._emit,
        )

    def _quiescence_detector(self) -> QuiescenceDetector:
        return QuiescenceDetector(
            signals=self._signals,
            knowledge=self._knowledge,
            drained=self._drained,
            quiet=self._quiet,
            quiet_ticks=self._terms.quiet_ticks,
            emit=self._emit,
        )

    def _convergence_detector(self) -> ConvergenceDetector:
        return ConvergenceDetector(
            quiet=self._quiet,
            knowledge=self._knowledge,
            journal=self._outside.ports.journal,
            register=self._outside.ports.register,
            incarnation=self._incarnation,
            clock=self._outside.clock,
            emit=self._emit,
        )

    def _outbox_writer(self) -> OutboxWriter:
        return OutboxWriter(
            run=self._run,
            me=self._robot,
            incarnation=self._incarnation,
            sequences=self._sequences,
            outgoing=self._outgoing,
            outbox=self._outside.ports.outbox,
            on_drop=lambda: self._tell_pressure("outbox", next(self._unsent)),
            emit=self._emit,
        )

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
            self._orders = await until_answered(lambda: self._outside.ports.orders.read(READ_US))

    async def _follow_recall(self) -> None:
        """Once recalled: take nothing new, deal with what is in hand, but not for long, and end the life."""
        await self._outside.recalled.until(bool)
        clock = self._outside.clock
        deadline_us = clock.monotonic_us() + FINISH_US
        while not (self._supervisor.retire("inbox_reader") and self._unacknowledged.is_settled):
            if clock.monotonic_us() >= deadline_us:
                break  # the server is away, say; what is not acknowledged comes again
            await asyncio.sleep(LOOK_S)
        self._reason = self._reason or RECALLED  # the order `stop` may have come meanwhile
        self._supervisor.stop()

    def _crash(self, victim: str) -> None:
        """What a deed asks for; it may be meant for another robot."""
        robot, _, worker = victim.partition("/")
        if robot == self._robot:
            self._supervisor.crash(worker)

    def _channel(self, name: str) -> Channel[Any]:
        return Channel(name, self._tell_pressure)

    def _tell_pressure(self, channel: str, dropped: int) -> None:
        if dropped & (dropped - 1) == 0:  # 1, 2, 4, 8 …: a storm is told in a few lines
            self._emit(ChannelPressure(channel, dropped))


def _remember(entries: Iterable[Entry]) -> Snapshot:
    """The knowledge that a journal holds."""
    knowledge = Knowledge()
    return knowledge.learn(knowledge.news(parts_in(entries)))
