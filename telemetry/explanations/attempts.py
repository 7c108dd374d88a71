"""Exchanges that could have taught a robot a part, and did not: how far each came, and which fault ended it.

A robot that holds a part teaches it in two ways: it answers a summary of the other, or the other answers its summary
and gets an update. (A summary also carries what its sender learnt just now; that succeeds sometimes, and is not
counted as a failure.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from telemetry.events import ExchangeEnded, MessageDropped
from telemetry.explanations.explanation import Step
from telemetry.explanations.run_index import RunIndex
from telemetry.phrases import counted, in_brackets, seconds
from telemetry.record.rows import FateRow, ms_of

LATE_US: Final = 200_000
"""A message that is on its way for longer is late: robots retransmit before it comes."""
_CAUSES: Final = {
    "lost": ("partition", "burst-loss", "loss"),
    "corrupt": ("corrupt",),
    "late": ("partition", "delay", "reorder", "throttle"),
}
"""By fate, the faults that may have caused it; others of the same envelope did not matter."""


class _Undecided(NamedTuple):
    """An envelope that no relay decided: it was held, or, for that reason, not sent."""

    at_us: int
    sender: str
    receiver: str
    kind: str
    reason: str


class TaughtNothing(msgspec.Struct, frozen=True):
    """An exchange of a robot with one that held the part. `stage`: the message that did not come (`summary`, `answer`,
    `update`), or `none` when all came; `fate` of it: lost, corrupt, stale, held (a partition kept it until the end),
    late (it was on its way then, until `due_us`), unsent, arrived, or why it was dropped. `faults` caused that; or,
    for `lag_us`, a relay that had not decided yet."""

    exchange: str
    begun_us: int
    initiator: str
    peer: str
    stage: str
    sender: str
    receiver: str
    fate: str
    tries: int
    faults: tuple[str, ...]
    due_us: int = 0
    lag_us: int = 0

    @property
    def is_failure(self) -> bool:
        """Whether a message did not come, or was not sent; an update that was not requested does not count."""
        return self.stage != "none" and (self.fate, self.stage) != ("unsent", "update")


def attempts(index: RunIndex, learner: str, holder: str, since_us: int, until_us: int) -> list[TaughtNothing]:
    """All exchanges between the two that began in that time, in order, each as far as it had come at its end."""
    exchanges = index.exchanges.get(frozenset((learner, holder)), {})
    held: dict[str, list[_Undecided]] = {}
    for stamped, event in index.undecided:
        if {stamped.source, event.receiver} == {learner, holder}:
            reason = event.reason if isinstance(event, MessageDropped) else ""
            undecided = _Undecided(stamped.wall_us, stamped.source, event.receiver, event.kind, reason)
            held.setdefault(event.exchange, []).append(undecided)
    found = []
    for exchange in dict.fromkeys([*exchanges, *held]):
        rows, kept = exchanges.get(exchange, []), held.get(exchange, [])
        begun_us = min([*(ms_of(row.id) * 1000 for row in rows), *(each.at_us for each in kept)])
        initiator = _initiator(rows, kept)
        if initiator and since_us <= begun_us <= until_us:
            peer = holder if initiator == learner else learner
            found.append(_followed(index, rows, kept, exchange, begun_us, initiator, peer, learner, until_us))
    return sorted(found, key=lambda attempt: attempt.begun_us)


def _initiator(rows: Iterable[FateRow], kept: Iterable[_Undecided]) -> str | None:
    """Who sent its summaries, or got its answers."""
    envelopes: tuple[FateRow | _Undecided, ...] = (*rows, *kept)
    first = envelopes[0]
    return first.receiver if first.kind == "answer" else first.sender


def _followed(
    index: RunIndex,
    rows: list[FateRow],
    kept: list[_Undecided],
    exchange: str,
    begun_us: int,
    initiator: str,
    peer: str,
    learner: str,
    until_us: int,
) -> TaughtNothing:
    """The exchange, up to the first message that did not come."""
    stages = [("summary", initiator, peer), ("answer", peer, initiator)]
    if learner == peer:
        stages.append(("update", initiator, peer))
    kinds = {row.kind for row in rows} | {each.kind for each in kept}
    begun = max((place for place, (stage, *_) in enumerate(stages) if stage in kinds), default=0)
    for stage, sender, receiver in stages[begun:]:  # what came before was there: else this would not have been sent
        sent = [row for row in rows if (row.kind, row.sender) == (stage, sender)]
        undecided = [each for each in kept if (each.kind, each.sender) == (stage, sender)]
        fate = _fate(sent, undecided, until_us)
        if fate in ("late", "unsent") and (slow := _slowest(rows)) is not None:
            return _held_up(exchange, begun_us, initiator, peer, slow)
        if fate != "arrived":
            faults = _faults(index, sent, fate, sender, receiver)
            tries = len(sent) + len(undecided)
            due_us = min(filter(None, map(due_us_of, sent)), default=0)
            return TaughtNothing(
                exchange, begun_us, initiator, peer, stage, sender, receiver, fate, tries, faults, due_us
            )
    return TaughtNothing(exchange, begun_us, initiator, peer, "none", initiator, peer, "arrived", 1, ())


def _slowest(rows: list[FateRow]) -> FateRow | None:
    """The envelope of an exchange that was on its way for longest, if that is long."""
    slow = max(rows, key=way_us_of, default=None)
    return slow if slow is not None and way_us_of(slow) >= LATE_US else None


def _held_up(exchange: str, begun_us: int, initiator: str, peer: str, row: FateRow) -> TaughtNothing:
    """The exchange, of which that envelope was late: what came after it came later still."""
    place = (row.kind or "", row.sender or "", row.receiver or "")
    faults, due_us, lag_us = late_causes(row), due_us_of(row) or 0, lag_us_of(row)
    return TaughtNothing(exchange, begun_us, initiator, peer, *place, "late", 1, faults, due_us, lag_us)


def due_us_of(row: FateRow, copy: int | None = None) -> int | None:
    """When a copy of an envelope (None: the first that comes) was due; None when none was to be delivered. It cannot
    come before its relay has decided."""
    if row.fate != "delivered" or not row.deliveries or (copy is not None and copy >= len(row.deliveries)):
        return None
    delay_us = min(row.deliveries) if copy is None else row.deliveries[copy]
    return max(ms_of(row.id) * 1000 + delay_us, ms_of(row.stored) * 1000)


def way_us_of(row: FateRow) -> int:
    """How long an envelope was on its way; 0 when it was not delivered."""
    due_us = due_us_of(row)
    return 0 if due_us is None else due_us - ms_of(row.id) * 1000


def lag_us_of(row: FateRow) -> int:
    """How long its relay took to decide the fate of an envelope, if that is long and no partition held it; else 0."""
    lag_us = (ms_of(row.stored) - ms_of(row.id)) * 1000
    is_held = any(planned.fault.split()[0] == "partition" for planned in row.faults)
    return 0 if is_held or lag_us < LATE_US else lag_us


def late_causes(row: FateRow) -> tuple[str, ...]:
    """The faults that made an envelope late; none when its relay was late to decide."""
    return () if lag_us_of(row) else causing("late", (planned.fault for planned in row.faults))


def lag_text(lag_us: int) -> str:
    """How late a relay was, for the end of a sentence; empty when it was not."""
    return f", because its relay decided its fate only {seconds(lag_us)} after it was sent" if lag_us else ""


def _fate(sent: list[FateRow], undecided: list[_Undecided], until_us: int) -> str:
    due = [due_us for row in sent if (due_us := due_us_of(row)) is not None]
    if due:
        return "arrived" if min(due) <= until_us else "late"
    if undecided:
        return next((each.reason for each in undecided if each.reason), "held")
    return sent[-1].fate if sent else "unsent"


def _faults(index: RunIndex, sent: list[FateRow], fate: str, sender: str, receiver: str) -> tuple[str, ...]:
    if fate == "held":
        return index.links.blocking(sender, receiver)
    return causing(fate, (planned.fault for row in sent for planned in row.faults))


def causing(fate: str, faults: Iterable[str]) -> tuple[str, ...]:
    """Those of the faults of an envelope that may have caused its fate (`late`: that it came late). A partition that
    held it explains the delay alone."""
    names = _CAUSES.get(fate, ())
    found = tuple(dict.fromkeys(fault for fault in faults if fault.split()[0] in names))
    held = tuple(fault for fault in found if fate == "late" and fault.split()[0] == "partition")
    return held or found


def attempt_steps(index: RunIndex, attempts: Iterable[TaughtNothing]) -> Iterator[Step]:
    """One step for each attempt."""
    for attempt in attempts:
        yield Step(
            attempt_text(index, attempt),
            at_s=index.after_go_s(attempt.begun_us),
            robot=attempt.initiator,
            exchange=attempt.exchange,
            faults=attempt.faults,
        )


def attempt_text(index: RunIndex, attempt: TaughtNothing) -> str:
    """`r03 began exchange 0000… with r01: its summary was lost, all 3 times (loss 0.9)`."""
    begun = f"{attempt.initiator} began exchange {attempt.exchange} with {attempt.peer}"
    if attempt.stage == "none":
        return f"{begun}: all its messages came, and did not bring it"
    message = f"its {attempt.stage}" if attempt.sender == attempt.initiator else f"{attempt.sender}'s answer"
    if attempt.fate == "unsent":
        return f"{begun}: {_unsent(index, attempt)}"
    times = {1: "", 2: ", both times"}.get(attempt.tries, f", all {attempt.tries} times")
    ends = {
        "lost": f"was lost{times}",
        "corrupt": f"came damaged, and was refused{times}",
        "stale": "was not delivered, because a later life of its sender had been born",
        "held": "was held back until the end",
        "late": "was still on its way at the end"
        if attempt.due_us > index.end_us
        else f"came only {seconds(attempt.due_us - attempt.begun_us)} after its beginning",
    }
    end = ends.get(attempt.fate, f"was not sent, because {attempt.fate}")
    return f"{begun}: {message} {end}{in_brackets(', '.join(attempt.faults))}{lag_text(attempt.lag_us)}"


def _unsent(index: RunIndex, attempt: TaughtNothing) -> str:
    if attempt.stage == "update":
        ended = (each.event for each in index.reported(attempt.initiator, ExchangeEnded))
        wanted = [
            each.wanted for each in ended if isinstance(each, ExchangeEnded) and each.exchange == attempt.exchange
        ]
        return f"{attempt.receiver} wanted nothing of it" if wanted == [0] else f"{attempt.sender} sent no update"
    for death, _ in index.deaths.get(attempt.sender, ()):
        away_us = ms_of(death.id) * 1000
        if away_us <= attempt.begun_us + 2 * index.tick_us:
            birth = index.born_after(attempt.sender, death.incarnation, away_us)
            if birth is None:
                return f"{attempt.sender} did not live then, and sent no {attempt.stage}"
            if birth[1] >= attempt.begun_us:
                return f"{attempt.sender} was dead for {seconds(birth[1] - away_us)}, and sent no {attempt.stage}"
    return f"{attempt.sender} sent no {attempt.stage}"


def summed_up(attempts: Iterable[TaughtNothing], between: str = "") -> str:
    """`12 exchanges failed: 7 by loss 0.2, 5 without an answer`; empty when none failed. `between`: whose they were."""
    failed = [attempt for attempt in attempts if attempt.stage != "none" and attempt.fate != "unsent"]
    silent = [attempt for attempt in attempts if attempt.fate == "unsent" and attempt.stage != "update"]
    total = len(failed) + len(silent)
    if not total:
        return ""
    causes = Counter(_cause(attempt) for attempt in failed)
    causes.update({"without an answer": len(silent)} if silent else {})
    failure = "brought nothing by then" if any(attempt.fate == "late" for attempt in failed) else "failed"
    exchanges = f"{counted(total, 'exchange')}{between and f' {between}'} {failure}"
    if len(causes) == 1:
        return f"{exchanges}, {'all ' * (total > 1)}{next(iter(causes))}"
    return f"{exchanges}: {', '.join(f'{count} {cause}' for cause, count in causes.most_common())}"


def _cause(attempt: TaughtNothing) -> str:
    if attempt.lag_us:
        return "late at a relay"
    if attempt.faults:
        return f"{'late ' * (attempt.fate == 'late')}by {', '.join(attempt.faults)}"
    return attempt.fate if attempt.fate in (*_CAUSES, "stale", "held") else f"because {attempt.fate}"
