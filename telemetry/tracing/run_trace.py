"""The run's own trace: the run as one span, and below it births, the plan in force, injections, every life of a robot
and of a relay, and the gaps between them. Its verdict, once it is known, stands on the root.

Exchanges have traces of their own: what a life learnt, and the write of the secret, are linked to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec.structs import replace

from telemetry.events import ProcessStarted, RelayResumed
from telemetry.record.history import History
from telemetry.record.rows import DeathRow, FailureRow, InjectionRow, LeadershipGapRow, PlanRow
from telemetry.tracing.attributes import chosen
from telemetry.tracing.builder import Placed, TraceBuilder
from telemetry.tracing.clocks import Clocks
from telemetry.tracing.exchange_spans import plan_span_id
from telemetry.tracing.ids import run_trace_id, span_id
from telemetry.tracing.life_spans import LifeSpans
from telemetry.tracing.spans import Attributes, Span, SpanEvent, SpanKind, Trace

LAB: Final = "lab"
MOST_PLANS: Final = 500  # spans
SERVER: Final = "redis"

Verdict = Mapping[str, Any]
"""The verdict, as `--json` prints it."""


def run_trace(history: History, verdict: Verdict | None = None, shift_us: int = 0) -> Trace:
    """The whole trace, the root first. `shift_us` is added to all times (`clocks.shift_us_of`)."""
    return _RunDerivation(history, verdict, Clocks(shift_us)).trace()


class _RunDerivation:
    def __init__(self, history: History, verdict: Verdict | None, clocks: Clocks) -> None:
        settings = history.settings
        self._history = history
        self._verdict = verdict
        self._clocks = clocks
        self._builder = TraceBuilder(run_trace_id(settings.run, settings.seed))
        self._start_us = self._ordered_us("dealt") or min(self._known_us(), default=0)
        self._end_us = self._ordered_us("stop") or max(self._known_us(), default=self._start_us)
        self._root = Placed(span_id(self._builder.trace, "run"), self._start_us)

    def trace(self) -> Trace:
        self._births()
        self._plans()
        self._fleet()
        self._relays()
        LifeSpans(self._history, self._clocks, self._builder, self._root).draw()
        return Trace((self._run(), *self._builder.spans))

    def _run(self) -> Span:
        settings, word = self._history.settings, None if self._verdict is None else str(self._verdict["verdict"])
        about = chosen(
            ("gossip.verdict", word),
            ("gossip.ended", settings.ended),
            ("gossip.run", settings.run),
            ("gossip.seed", settings.seed),
            ("gossip.robots", settings.robots),
            ("gossip.parts", len(self._history.dealt)),
            ("gossip.exhibit", settings.exhibit),
        )
        error = "BROKEN" if word == "BROKEN" else ""
        root = self._builder.root(self._root, "run", LAB, self._end_us, error, about)
        return replace(root, events=tuple(self._promises(root.end_us)))

    def _promises(self, at_us: int) -> Iterator[SpanEvent]:
        for name, finding in ({} if self._verdict is None else self._verdict["promises"]).items():
            about = chosen(("gossip.promise", name), ("gossip.state", finding["state"]), ("gossip.why", finding["why"]))
            yield SpanEvent("promise", at_us, about)

    def _births(self) -> None:
        go_us = self._ordered_us("go")
        self._add(LAB, "births", "", (self._start_us, self._end_us if go_us is None else go_us))

    def _plans(self) -> None:
        """Each plan as long as it was in force, in every shard."""
        rows = [row for row in self._history.controls if isinstance(row, PlanRow)]
        for number, row in enumerate(rows[:MOST_PLANS]):
            following = next((later for later in rows[number + 1 :] if later.shard == row.shard), None)
            start_us = self._clocks.of_entry(row.id)
            end_us = max(self._end_us, start_us) if following is None else self._clocks.of_entry(following.id)
            about = chosen(
                ("gossip.faults", ", ".join(fault.fault for fault in row.faults) or "calm"),
                ("gossip.request", row.request or None),
                ("gossip.refusal", row.refusal or None),
                ("gossip.shard", row.shard if self._history.settings.shards > 1 else None),
            )
            span = plan_span_id(self._history.settings.run, self._history.settings.seed, row.shard, row.id)
            self._builder.add(span, self._root, "plan", SpanKind.INTERNAL, LAB, (start_us, end_us), "", about)

    def _fleet(self) -> None:
        """Injections, those that failed, outages of the server, and times without a supervisor."""
        for row in self._history.fleet:
            at_us = self._clocks.of_entry(row.id)
            match row:
                case InjectionRow(verb=verb, target=target, victim=victim):
                    about = chosen(("gossip.verb", verb), ("gossip.target", target), ("gossip.victim", victim))
                    self._add(LAB, "injection", row.id, (at_us, at_us), "", about)
                case FailureRow(verb=verb, target=target, why=why):
                    about = chosen(("gossip.verb", verb), ("gossip.target", target), ("gossip.why", why))
                    self._add(LAB, "injection", row.id, (at_us, at_us), "not done", about)
                case LeadershipGapRow(away_us=away_us):
                    self._add(LAB, "no supervisor", row.id, (at_us - away_us, at_us))
                case DeathRow(victim=victim) if victim == SERVER:
                    again_us = self._started_us(SERVER, at_us)
                    self._add(LAB, "server down", row.id, (at_us, self._end_us if again_us is None else again_us))

    def _relays(self) -> None:
        """The lives of each shard's relay, from one death to the next start."""
        for shard in range(self._history.settings.shards):
            name, start_us = f"relay:{shard}", self._start_us
            for row in self._history.fleet:
                if not isinstance(row, DeathRow) or row.victim != name:
                    continue
                died_us = self._clocks.of_entry(row.id)
                self._add(name, "life", row.id, (start_us, died_us), "killed" if row.how == "signal" else row.how)
                again_us = self._resumed_us(shard, died_us)
                start_us = self._end_us if again_us is None else again_us
                self._add(name, "down", row.id, (died_us, start_us))
            if start_us < self._end_us:
                self._add(name, "life", "", (start_us, self._end_us))

    def _started_us(self, process: str, since_us: int) -> int | None:
        """When the next process of that name was started."""
        times = (
            self._clocks.of_event(stamped)
            for stamped in self._history.events
            if isinstance(stamped.event, ProcessStarted) and stamped.event.process == process
        )
        return min((time_us for time_us in times if time_us >= since_us), default=None)

    def _resumed_us(self, shard: int, since_us: int) -> int | None:
        """When the next relay took the shard."""
        times = (
            self._clocks.of_event(stamped)
            for stamped in self._history.events
            if isinstance(stamped.event, RelayResumed) and stamped.event.shard == shard
        )
        return min((time_us for time_us in times if time_us >= since_us), default=None)

    def _ordered_us(self, order: str) -> int | None:
        """When the order was first given, by the server's clock."""
        ordered_us = self._history.order_us(order)
        return None if ordered_us is None else ordered_us + self._clocks.shift_us

    def _known_us(self) -> list[int]:
        return [self._clocks.of_event(stamped) for stamped in self._history.events]

    def _add(
        self, service: str, name: str, entry: str, times: tuple[int, int], error: str = "", about: Attributes = ()
    ) -> None:
        span = span_id(self._builder.trace, name, service, entry)
        self._builder.add(span, self._root, name, SpanKind.INTERNAL, service, times, error, about)
