"""The faults of a run over time: what is in force and since when, what was measured since then, what was requested, and
which process faults were injected.

What a fault means is read from its text; one that is not understood is shown as it is, and measured by nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from operator import sub
from typing import Final, NamedTuple

from telemetry.events import FatesDecided, FaultInjected, InjectionFailed, PlanChanged, RunStopped, Stamped
from telemetry.scene.network import Fates
from telemetry.verdict.finding import EvidenceError
from telemetry.verdict.recomputed.plan_lines import read_line
from telemetry.view import View

LOSING: Final = ("loss", "burst-loss", "partition")
DELAYING: Final = ("delay", "reorder", "throttle", "partition hold")
_MEASURED: Final[Mapping[str, Sequence[str]]] = {
    "loss": LOSING,
    "duplicate": ("duplicate",),
    "corrupt": ("corrupt",),
    "delay": DELAYING,
}
"""What relays count, and which faults bring it about."""

_MOST_KEPT: Final = 200  # injections, and requests


class SeenFault(NamedTuple):
    """A fault, in force since `since_us` of the wall clock; `ends_us`: when it is dated to end, None: not known, or
    never."""

    text: str
    since_us: int
    ends_us: int | None


class SeenPlan(NamedTuple):
    """From `from_us` of the wall clock on these faults were in force, until the next plan."""

    from_us: int
    faults: tuple[str, ...]


class SeenInjection(NamedTuple):
    """A process fault that was due: `kill r03`, and its victim; `why`: it could not be done."""

    at_us: int
    verb: str
    target: str
    victim: str
    why: str = ""


class SeenRequest(NamedTuple):
    """What a person requested of the run (`set loss 0.5`); `refusal`: why it was refused, if so."""

    at_us: int
    text: str
    refusal: str


class _RelaySeen(NamedTuple):
    """What one relay reported, so far. `since` by fault. `bases`: its total when the faults that concern what is
    measured changed last; those in `fresh` begin after its next batch, of which a part was decided before."""

    since: Mapping[str, int] = {}
    total: Fates = Fates()
    bases: Mapping[str, Fates] = dict.fromkeys(_MEASURED, Fates())
    fresh: frozenset[str] = frozenset()
    requests: int = 0


class FaultHistory:
    """`plan`: the lines that the run began with. `done`: how many injections, by verb; `failed`: how many were not."""

    def __init__(self, plan: Sequence[str]) -> None:
        self.injections: deque[SeenInjection] = deque(maxlen=_MOST_KEPT)
        self.requests: deque[SeenRequest] = deque(maxlen=_MOST_KEPT)
        self.done: dict[str, int] = {}
        self.failed = 0
        self._plan = plan
        self.is_known = False
        """Whether any relay reported its plan."""
        self.is_over = False
        """The order to stop was given. The empty plan that follows it belongs to no robot's time, and is left out."""
        self.plans: tuple[SeenPlan, ...] = ()
        """In order of time, as relay 0 applies them: all relays apply the same. The empty plan with which a run ends is
        left out."""
        self._shards: dict[int, _RelaySeen] = {}
        self._asked = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """The faults that are in force at any relay, the oldest first; of a run that is over, those of its end."""
        return tuple(self._since)

    def in_force(self, go_us: int | None) -> list[SeenFault]:
        """The same, with their times."""
        dated = [(text, go_us or 0) for text in self._plan if go_us is not None]
        dated += [(line, each.at_us) for each in self.requests if not each.refusal for line in _lines_in(each.text)]
        return [SeenFault(text, at_us, _ends_us(text, at_us, dated)) for text, at_us in self._since.items()]

    @property
    def _since(self) -> Mapping[str, int]:
        """Since when each fault is in force, the oldest first."""
        since: dict[str, int] = {}
        for shard in self._shards.values():
            for text, at_us in shard.since.items():
                since[text] = min(at_us, since.get(text, at_us))
        return dict(sorted(since.items(), key=_second))

    def measured(self, what: str) -> Fates:
        """The fates since the faults that concern `what` (loss, duplicate, corrupt or delay) changed last."""
        counted = [_minus(shard.total, shard.bases[what]) for shard in self._shards.values() if what not in shard.fresh]
        total = Fates()
        for fates in counted:
            total = total.plus(fates)
        return total

    def handle(self, stamped: Stamped, view: View) -> None:  # noqa: ARG002
        """Take a relay's report, or the injector's."""
        match stamped.event:
            case FatesDecided():
                self._count(stamped.event)
            case PlanChanged() if not self.is_over:
                self._change(stamped.wall_us, stamped.event)
            case RunStopped():
                self.is_over = True
            case FaultInjected(verb, target, victim):
                self.done = {**self.done, verb: self.done.get(verb, 0) + 1}
                self.injections.append(SeenInjection(stamped.wall_us, verb, target, victim))
            case InjectionFailed(verb, target, why):
                self.failed += 1
                self.injections.append(SeenInjection(stamped.wall_us, verb, target, "", why))

    def copy(self) -> FaultHistory:
        other = FaultHistory(self._plan)
        other.injections, other.requests = self.injections.copy(), self.requests.copy()
        other.done, other.failed, other._asked = self.done, self.failed, self._asked
        other.is_known, other.is_over, other.plans = self.is_known, self.is_over, self.plans
        other._shards = self._shards.copy()
        return other

    def _count(self, event: FatesDecided) -> None:
        shard = self._shards.get(event.shard, _RelaySeen())
        total = shard.total.plus(Fates.of(event))
        bases = {**shard.bases, **dict.fromkeys(shard.fresh, total)} if shard.fresh else shard.bases
        self._shards[event.shard] = shard._replace(total=total, bases=bases, fresh=frozenset())

    def _change(self, at_us: int, event: PlanChanged) -> None:
        shard = self._shards.get(event.shard, _RelaySeen())
        self.is_known = True
        if event.shard == 0 and (not self.plans or event.new != self.plans[-1].faults):
            self.plans = (*self.plans, SeenPlan(at_us, event.new))
        changed = {kind_of(text) for text in {*shard.since} ^ {*event.new}}
        fresh = shard.fresh | {
            what for what, faults in _MEASURED.items() if changed & {*faults} and shard.total.offered
        }
        since = {text: shard.since.get(text, at_us) for text in event.new}
        asked = shard.requests + bool(event.request)
        self._shards[event.shard] = shard._replace(since=since, fresh=fresh, requests=asked)
        if asked > self._asked:  # every relay reports each request once, in the same order
            self._asked = asked
            self.requests.append(SeenRequest(at_us, event.request, event.refusal))


def _minus(total: Fates, base: Fates) -> Fates:
    return Fates(*map(sub, total, base))


def kind_of(fault: str) -> str:
    """What kind of fault a text is: its first word, and `partition hold` for one that keeps what it stops."""
    name, _, rest = fault.partition(" ")
    return f"{name} hold" if rest.startswith("hold ") else name


def _lines_in(request: str) -> list[str]:
    verb, _, rest = request.strip().partition(" ")
    return [line.strip() for line in rest.split(";")] if verb == "set" else []


def _ends_us(fault: str, since_us: int, dated: Sequence[tuple[str, int]]) -> int | None:
    """When a fault that began at `since_us` ends, by the newest line that began it; each line counts from its zero."""
    for text, zero_us in reversed(dated):
        if "+" not in text or not text.startswith(fault):
            continue
        try:
            line = read_line(text)
        except EvidenceError:
            continue
        if line.text != fault or line.duration_us is None:
            continue
        return _end_in_us(since_us, zero_us + line.start_us, line.duration_us, line.every_us)
    return None


def _end_in_us(since_us: int, first_us: int, duration_us: int, every_us: int | None) -> int:
    """The end of the occurrence that began about `since_us`: a relay reports it some milliseconds late."""
    rounds = 0 if every_us is None else max(0, (since_us - first_us + every_us // 4) // every_us)
    return first_us + rounds * (every_us or 0) + duration_us


def _second(pair: tuple[str, int]) -> int:
    return pair[1]
