"""The one fold from a run's events to its metrics. It asks no clock, reads nothing, and its memory is bounded.

The same events give the same values, however they are read. Events of one source and life must come in their order;
different sources may come in any: a copy may be taken before its envelope was seen to be sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

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
    RunDealt,
    Stamped,
    WorkerRestarted,
)
from telemetry.metrics import table
from telemetry.metrics.robots import Robots
from telemetry.metrics.series import Counts, Histograms, Recent, attributes_of
from telemetry.metrics.table import METRICS, Instrument, Metric
from telemetry.metrics.values import Family, MetricsSnapshot, Number
from telemetry.tracing.ids import exchange_trace_id, span_id

MOST_IN_FLIGHT: Final = 20_000  # envelopes, and messages that may still have a reply, that are remembered
_MOST_CHANNELS: Final = 10_000
_MOST_ANOMALIES: Final = 10_000
_MOST_COPIES: Final = 64  # of one envelope, that were taken before it was seen to be sent
_KINDS: Final = ("summary", "answer", "update")
_REPLIED_TO: Final = ("summary", "answer")
_OTHER: Final = "_OTHER"  # OpenTelemetry's word for an error that has no name of its own
_ERRORS: Final = {
    # How a reason begins, and the error.type. Reasons may quote what they refuse: a label must not.
    "the outbox is full": "outbox full",
    "the outbox is away": "outbox away",
    "bad checksum": "bad checksum",
    "frame of ": "bad size",
    "not an envelope": "not an envelope",
    "not for this robot": "not for this robot",
    "unknown kind": "unknown kind",
    "not a ": "bad body",
    "index out of range": "bad body",
    "word too long or empty": "bad body",
    "bitmap too long": "bad body",
    "bad peers": "bad body",
}


class MetricsFold:
    """Fed with `add`; `snapshot` gives the values. `missed`: the events that its reader knows to be lost. `seed`: the
    run's, on which the ids of its traces depend."""

    def __init__(self, seed: int) -> None:
        self.missed = 0
        self._seed = seed
        self._run = ""
        self._times_us: tuple[int, int] | None = None  # of the earliest and the latest event
        self._counts = {metric: Counts(metric) for metric in METRICS if metric.instrument is Instrument.COUNTER}
        self._histograms = {
            metric: Histograms(metric) for metric in METRICS if metric.instrument is Instrument.HISTOGRAM
        }
        self._robots = Robots(self._join_robots)
        self._flights: Recent[tuple[str, int, str, int], _Flight] = Recent(MOST_IN_FLIGHT)
        self._taken: Recent[tuple[str, int, str, int, int, int], tuple[int, str]] = Recent(MOST_IN_FLIGHT)
        self._dropped: Recent[tuple[str, int, str], int] = Recent(_MOST_CHANNELS)
        self._anomalies: Recent[tuple[str, str], bool] = Recent(_MOST_ANOMALIES)  # rule and about: whether it goes on
        self._handlers: dict[type[Event], Callable[[Stamped, Any], None]] = {
            RunDealt: self._dealt,
            MessageSent: self._sent,
            MessageDropped: self._not_sent,
            MessageReceived: self._received,
            MessageRefused: self._refused,
            MessageRepeated: self._repeated,
            ExchangeEnded: self._exchange_ended,
            FatesDecided: self._decided,
            RobotBorn: self._born,
            PartsMerged: self._merged,
            RobotComplete: self._completed,
            RobotQuiet: self._quieted,
            RobotDisturbed: self._disturbed,
            WorkerRestarted: self._restarted,
            ChannelPressure: self._overflowed,
            AnomalyBegan: self._began,
            AnomalyEnded: self._ended,
        }

    def add(self, stamped: Stamped) -> None:
        """Fold one more event."""
        at_us = stamped.wall_us
        if self._times_us is None:
            self._run, self._times_us = stamped.run, (at_us, at_us)
        elif not self._times_us[0] <= at_us <= self._times_us[1]:
            self._times_us = (min(self._times_us[0], at_us), max(self._times_us[1], at_us))
        handler = self._handlers.get(type(stamped.event))
        if handler is not None:
            handler(stamped, stamped.event)

    def snapshot(self) -> MetricsSnapshot:
        """The values of all metrics that have one."""
        families = map(self._family, METRICS)
        kept = tuple(family for family in families if family.numbers or family.distributions)
        return MetricsSnapshot(self._run, self._times_us, kept)

    def _family(self, metric: Metric) -> Family:
        if metric is table.MISSED:
            return Family(metric, numbers=(Number((), self.missed),))
        if metric in self._counts:
            return self._counts[metric].family()
        if metric in self._histograms:
            return self._histograms[metric].family(self._root_of)
        if metric is table.ANOMALIES:
            return self._active_anomalies()
        return self._robots.family(metric)

    def _join_robots(self) -> None:
        for counts in self._counts.values():
            counts.join_robots()

    # Messages

    def _sent(self, stamped: Stamped, event: MessageSent) -> None:
        self._counts[table.SENT].add((event.kind, self._robots.label(stamped.source), ""))
        flight = self._flight(stamped.source, stamped.incarnation, event.receiver, event.sequence)
        flight.sent_us = stamped.wall_us
        for taken_us in flight.taken:
            self._histograms[table.TRANSIT].observe((event.kind,), taken_us - stamped.wall_us)
        flight.taken.clear()
        self._replied(stamped, event)

    def _not_sent(self, stamped: Stamped, event: MessageDropped) -> None:
        self._counts[table.SENT].add((event.kind, self._robots.label(stamped.source), error_type(event.reason)))
        self._replied(stamped, event)

    def _replied(self, stamped: Stamped, event: MessageSent | MessageDropped) -> None:
        if event.cause is None:
            return
        taken = self._taken.pop((stamped.source, stamped.incarnation, event.receiver, *event.cause), None)
        if taken is not None:
            taken_us, kind = taken
            self._histograms[table.PROCESS].observe((kind,), stamped.monotonic_us - event.waited_us - taken_us)

    def _received(self, stamped: Stamped, event: MessageReceived) -> None:
        source, sender, kind = stamped.source, (event.sender, event.sender_incarnation), event.kind
        self._counts[table.CONSUMED].add((kind, self._robots.label(source), "", ""))
        flight = self._flight(*sender, source, event.sequence)
        if flight.sent_us is not None:
            self._histograms[table.TRANSIT].observe((kind,), stamped.wall_us - flight.sent_us)
        elif len(flight.taken) < _MOST_COPIES:
            flight.taken.append(stamped.wall_us)
        if kind in _REPLIED_TO:
            copy = (source, stamped.incarnation, *sender, event.sequence, event.copy)
            self._taken[copy] = (stamped.monotonic_us, kind)

    def _refused(self, stamped: Stamped, event: MessageRefused) -> None:
        claimed = event.kind if event.kind in _KINDS else ""
        self._counts[table.CONSUMED].add((claimed, self._robots.label(stamped.source), error_type(event.reason), ""))

    def _repeated(self, stamped: Stamped, _event: MessageRepeated) -> None:
        self._counts[table.CONSUMED].add(("", self._robots.label(stamped.source), "", "true"))

    def _flight(self, sender: str, incarnation: int, receiver: str, sequence: int) -> _Flight:
        key = (sender, incarnation, receiver, sequence)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
        return flight

    def _exchange_ended(self, stamped: Stamped, event: ExchangeEnded) -> None:
        key = (event.outcome,)
        self._histograms[table.EXCHANGE].observe(key, event.took_us, stamped)
        self._counts[table.ATTEMPTS].add(key, event.attempts)

    def _root_of(self, ended: Stamped) -> tuple[int, int]:
        """The ids of an exchange's trace and of its root span."""
        assert isinstance(ended.event, ExchangeEnded)
        trace = exchange_trace_id(ended.run, self._seed, ended.event.exchange)
        return trace, span_id(trace, "exchange")

    # Relays

    def _decided(self, _stamped: Stamped, event: FatesDecided) -> None:
        relay = f"relay:{event.shard}"
        relayed, counts = self._counts[table.RELAYED], self._counts
        marked = 0
        for fate, count in (
            ("lost", event.lost),
            ("corrupt", event.corrupted),
            ("stale", event.stale),
            ("refused", event.refused),
        ):
            if count:
                marked += count
                relayed.add((relay, fate), count)
        relayed.add((relay, "delivered"), event.offered - marked)
        counts[table.COPIES].add((relay,), event.copies)
        counts[table.DUPLICATED].add((relay,), event.duplicated)
        counts[table.DELAYED].add((relay,), event.delayed)
        if event.offered + event.kept > event.freed:  # else a partition's end decided the whole batch
            self._histograms[table.LAG].observe((relay,), event.lag_us)

    # Robots

    def _dealt(self, _stamped: Stamped, event: RunDealt) -> None:
        self._robots.deal(event.robots, event.parts)

    def _born(self, stamped: Stamped, event: RobotBorn) -> None:
        self._counts[table.BIRTHS].add((self._robots.label(stamped.source),))
        self._robots.born(stamped.source, stamped.incarnation, event.parts)

    def _merged(self, stamped: Stamped, event: PartsMerged) -> None:
        self._counts[table.MERGED].add((self._robots.label(stamped.source),), len(event.indices))
        self._robots.of(stamped).parts = event.held

    def _completed(self, stamped: Stamped, _event: RobotComplete) -> None:
        self._robots.of(stamped).is_complete = True

    def _quieted(self, stamped: Stamped, _event: RobotQuiet) -> None:
        self._robots.of(stamped).is_quiet = True

    def _disturbed(self, stamped: Stamped, _event: RobotDisturbed) -> None:
        self._robots.of(stamped).is_quiet = False

    def _restarted(self, stamped: Stamped, event: WorkerRestarted) -> None:
        self._counts[table.RESTARTS].add((self._robots.label(stamped.source), event.worker))

    def _overflowed(self, stamped: Stamped, event: ChannelPressure) -> None:
        """The event has the sum of all that the channel dropped in its life so far."""
        source, channel = stamped.source, event.channel
        life = (source, stamped.incarnation, channel)
        new = event.dropped - self._dropped.get(life, 0)
        self._dropped[life] = max(event.dropped, self._dropped.get(life, 0))
        is_relay = source.startswith("relay:")
        robot = "" if is_relay else self._robots.label(source)
        self._counts[table.OVERFLOWED].add((robot, source if is_relay else "", channel), max(0, new))

    # Anomalies

    def _began(self, _stamped: Stamped, event: AnomalyBegan) -> None:
        self._anomalies[event.rule, event.about] = True

    def _ended(self, _stamped: Stamped, event: AnomalyEnded) -> None:
        self._anomalies[event.rule, event.about] = False

    def _active_anomalies(self) -> Family:
        counts = Counter({rule: 0 for rule, _ in self._anomalies})
        counts.update(rule for (rule, _), is_active in self._anomalies.items() if is_active)
        numbers = [Number(attributes_of(table.ANOMALIES, (rule,)), count) for rule, count in sorted(counts.items())]
        return Family(table.ANOMALIES, numbers=tuple(numbers))


class _Flight:
    """An envelope on its way: when it was sent, and the copies that were taken before that was known."""

    __slots__ = ("sent_us", "taken")

    def __init__(self) -> None:
        self.sent_us: int | None = None
        self.taken: list[int] = []


def error_type(reason: str) -> str:
    """A reason's `error.type`, one of few."""
    return next((error for start, error in _ERRORS.items() if reason.startswith(start)), _OTHER)
