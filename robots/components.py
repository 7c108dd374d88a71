"""The classes of a lab that an exhibit may replace: a robot's workers and supervisor, a relay's core, and the leader's
pieces. It holds classes, and must never decide which of them a run uses (robots/exhibits/catalogue.py).
"""

from __future__ import annotations

from typing import Final

import msgspec

from broker.faults.scheduler import PlanScheduler
from broker.relay.core import Relay
from robots.run.chaos import Chaos
from robots.supervision import Supervisor
from robots.workers.convergence_detector import ConvergenceDetector
from robots.workers.gossip_initiator import GossipInitiator
from robots.workers.inbox_reader import InboxReader
from robots.workers.outbox_writer import OutboxWriter
from robots.workers.quiescence_detector import QuiescenceDetector
from robots.workers.secret_merger import SecretMerger
from robots.workers.summary_processor import SummaryProcessor


class Components(msgspec.Struct, frozen=True):
    """One class for each piece. A run looks them up once, and all its processes use the same."""

    inbox_reader: type[InboxReader] = InboxReader
    summary_processor: type[SummaryProcessor] = SummaryProcessor
    secret_merger: type[SecretMerger] = SecretMerger
    gossip_initiator: type[GossipInitiator] = GossipInitiator
    quiescence_detector: type[QuiescenceDetector] = QuiescenceDetector
    convergence_detector: type[ConvergenceDetector] = ConvergenceDetector
    outbox_writer: type[OutboxWriter] = OutboxWriter
    supervisor: type[Supervisor] = Supervisor
    relay: type[Relay] = Relay
    plan_scheduler: type[PlanScheduler] = PlanScheduler
    chaos: type[Chaos] = Chaos


STANDARD: Final = Components()
