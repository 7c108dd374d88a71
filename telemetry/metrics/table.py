"""The one table of all metrics: names, instruments, units, attributes, meanings, and the events each is folded from.

The fold, both renderings and the README's table are made from it. Names are OpenTelemetry's; what Prometheus makes of
them stands in prometheus.py. An attribute never names an exchange, a message or a pair of robots.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from telemetry.events import (
    AnomalyBegan,
    AnomalyEnded,
    ChannelPressure,
    Event,
    ExchangeEnded,
    FatesDecided,
    MessageDropped,
    MessageReceived,
    MessageRefused,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    RobotBorn,
    RobotComplete,
    RobotDisturbed,
    RobotQuiet,
    WorkerRestarted,
)


class Instrument(Enum):
    """OpenTelemetry's instruments, by their names there."""

    COUNTER = "Counter"
    UP_DOWN_COUNTER = "UpDownCounter"
    GAUGE = "Gauge"
    HISTOGRAM = "Histogram"


class Metric(msgspec.Struct, frozen=True, eq=False):
    """A metric; each equals itself alone. `attributes` tell its series apart, in this order; `constant` ones are the
    same on all of them. `events`: what it is folded from; none: from how events were read. `unit` is UCUM's, where a
    word in braces says what is counted."""

    name: str
    instrument: Instrument
    unit: str
    attributes: tuple[str, ...]
    events: tuple[type[Event], ...]
    meaning: str
    constant: tuple[tuple[str, str], ...] = ()


ROBOT: Final = "gossip.robot"
RELAY: Final = "gossip.relay"
KIND: Final = "gossip.message.kind"
ERROR: Final = "error.type"
REPEATED: Final = "gossip.message.repeated"
OUTCOME: Final = "gossip.outcome"

BOUNDS_S: Final = tuple(step * 10.0**power for power in range(-4, 1) for step in (1, 2, 5))
"""Upper bounds of all histograms' buckets, in seconds: 0.1 ms, 0.2 ms, 0.5 ms … 5 s; the last bucket has none."""

_COUNTER, _GAUGE, _HISTOGRAM = Instrument.COUNTER, Instrument.GAUGE, Instrument.HISTOGRAM


def _messaging(operation: str) -> tuple[tuple[str, str], ...]:
    """What OpenTelemetry's conventions require of every metric of messages."""
    return ("messaging.operation.name", operation), ("messaging.system", "redis")


SENT: Final = Metric(
    "messaging.client.sent.messages",
    _COUNTER,
    "{message}",
    (KIND, ROBOT, ERROR),
    (MessageSent, MessageDropped),
    "envelopes that robots tried to send; with `error.type` those that the outbox did not take",
    _messaging("send"),
)
CONSUMED: Final = Metric(
    "messaging.client.consumed.messages",
    _COUNTER,
    "{message}",
    (KIND, ROBOT, ERROR, REPEATED),
    (MessageReceived, MessageRefused, MessageRepeated),
    "copies that robots took from their inboxes; with `error.type` those refused as garbage; repeated: the very same"
    " copy again, dropped",
    _messaging("receive"),
)
PROCESS: Final = Metric(
    "messaging.process.duration",
    _HISTOGRAM,
    "s",
    (KIND,),
    (MessageReceived, MessageSent, MessageDropped),
    "from taking a message until its reply was ready to be sent; only of messages that had a reply",
    _messaging("process"),
)
TRANSIT: Final = Metric(
    "gossip.transit.duration",
    _HISTOGRAM,
    "s",
    (KIND,),
    (MessageSent, MessageReceived),
    "from when an outbox had an envelope until the receiver took a copy, by the clocks of the two robots",
)
EXCHANGE: Final = Metric(
    "gossip.exchange.duration",
    _HISTOGRAM,
    "s",
    (OUTCOME,),
    (ExchangeEnded,),
    "from the first summary to the answer, or to giving up; its exemplars name traces",
)
ATTEMPTS: Final = Metric(
    "gossip.exchange.attempts",
    _COUNTER,
    "{attempt}",
    (OUTCOME,),
    (ExchangeEnded,),
    "summaries that were sent for exchanges that are over",
)
RELAYED: Final = Metric(
    "gossip.relay.messages",
    _COUNTER,
    "{message}",
    (RELAY, "gossip.fate"),
    (FatesDecided,),
    "envelopes by their fate: delivered, lost, corrupt, stale or refused",
)
COPIES: Final = Metric(
    "gossip.relay.copies",
    _COUNTER,
    "{copy}",
    (RELAY,),
    (FatesDecided,),
    "copies that relays put into inboxes, or hold until their time",
)
DUPLICATED: Final = Metric(
    "gossip.relay.duplicated",
    _COUNTER,
    "{message}",
    (RELAY,),
    (FatesDecided,),
    "envelopes of which more than one copy arrives",
)
DELAYED: Final = Metric(
    "gossip.relay.delayed",
    _COUNTER,
    "{message}",
    (RELAY,),
    (FatesDecided,),
    "envelopes of which a copy is held back for a time",
)
LAG: Final = Metric(
    "gossip.relay.lag",
    _HISTOGRAM,
    "s",
    (RELAY,),
    (FatesDecided,),
    "the age of a batch's oldest envelope when the relay decided it",
)
PARTS: Final = Metric(
    "gossip.robot.parts", _GAUGE, "{part}", (ROBOT,), (RobotBorn, PartsMerged), "parts that the robot knows"
)
COMPLETE: Final = Metric(
    "gossip.robot.complete", _GAUGE, "{robot}", (ROBOT,), (RobotBorn, RobotComplete), "1 when no part is missing"
)
QUIET: Final = Metric(
    "gossip.robot.quiet",
    _GAUGE,
    "{robot}",
    (ROBOT,),
    (RobotBorn, RobotQuiet, RobotDisturbed),
    "1 when nothing new came for the quiet period",
)
INCARNATION: Final = Metric(
    "gossip.robot.incarnation", _GAUGE, "{life}", (ROBOT,), (RobotBorn,), "the number of the robot's life"
)
MERGED: Final = Metric(
    "gossip.merge.parts", _COUNTER, "{part}", (ROBOT,), (PartsMerged,), "parts that the robot learnt from others"
)
BIRTHS: Final = Metric(
    "gossip.robot.births", _COUNTER, "{birth}", (ROBOT,), (RobotBorn,), "lives of the robot that began"
)
RESTARTS: Final = Metric(
    "gossip.worker.restarts",
    _COUNTER,
    "{restart}",
    (ROBOT, "gossip.worker"),
    (WorkerRestarted,),
    "restarts of one worker inside the robot, after crashes",
)
OVERFLOWED: Final = Metric(
    "gossip.channel.dropped",
    _COUNTER,
    "{item}",
    (ROBOT, RELAY, "gossip.channel"),
    (ChannelPressure,),
    "items that a full channel dropped, as reported: at 1, 2, 4, 8 …",
)
ANOMALIES: Final = Metric(
    "gossip.anomalies",
    Instrument.UP_DOWN_COUNTER,
    "{anomaly}",
    ("gossip.rule",),
    (AnomalyBegan, AnomalyEnded),
    "anomalies that go on",
)
MISSED: Final = Metric(
    "gossip.events.missed",
    _COUNTER,
    "{event}",
    (),
    (),
    "events that never reached this reader: dropped at their source, trimmed before it came, or garbage",
)

METRICS: Final = (
    *(SENT, CONSUMED, PROCESS, TRANSIT, EXCHANGE, ATTEMPTS, RELAYED, COPIES, DUPLICATED, DELAYED, LAG),
    *(PARTS, COMPLETE, QUIET, INCARNATION, MERGED, BIRTHS, RESTARTS, OVERFLOWED, ANOMALIES, MISSED),
)
"""All metrics, in the order in which they are shown."""
