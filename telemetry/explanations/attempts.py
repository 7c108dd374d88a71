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

from telemetry.events import MessageDropped
from telemetry.explanations.explanation import Step
from telemetry.explanations.run_index import RunIndex
from telemetry.phrases import counted, in_brackets, seconds
from telemetry.record.rows import FateRow, ms_of

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
    late (it was on its way at the end), unsent, arrived, or why it was dropped. `faults` changed something of its
    envelopes."""

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


def attempts(index: RunIndex, learner: str, holder: str, since_us: int, until_us: int) -> list[TaughtNothing]:
    """All exchanges between the two that began in that time, in order."""
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
            found.append(_followed(index, rows, kept, exchange, begun_us, initiator, peer, learner))
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
        fate = _fate(sent, undecided, index.end_us)
        if fate != "arrived":
            faults = _faults(index, sent, fate, sender, receiver)
            tries = len(sent) + len(undecided)
            return TaughtNothing(exchange, begun_us, initiator, peer, stage, sender, receiver, fate, tries, faults)
    return TaughtNothing(exchange, begun_us, initiator, peer, "none", initiator, peer, "arrived", 1, ())


def _fate(sent: list[FateRow], undecided: list[_Undecided], end_us: int) -> str:
    delivered = [row for row in sent if row.fate == "delivered" and row.deliveries]
    if any(ms_of(row.id) * 1000 + min(row.deliveries) <= end_us for row in delivered):
        return "arrived"
    if delivered:
        return "late"
    if undecided:
        return next((each.reason for each in undecided if each.reason), "held")
    return sent[-1].fate if sent else "unsent"


def _faults(index: RunIndex, sent: list[FateRow], fate: str, sender: str, receiver: str) -> tuple[str, ...]:
    if fate == "held":
        return index.links.blocking(sender, receiver)
    names = _CAUSES.get(fate, ())
    faults = (planned.fault for row in sent for planned in row.faults)
    return tuple(dict.fromkeys(fault for fault in faults if fault.split()[0] in names))


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
        "late": "was still on its way at the end",
    }
    end = ends.get(attempt.fate, f"was not sent, because {attempt.fate}")
    return f"{begun}: {message} {end}{in_brackets(', '.join(attempt.faults))}"


def _unsent(index: RunIndex, attempt: TaughtNothing) -> str:
    if attempt.stage == "update":
        return f"{attempt.receiver} wanted nothing of it"
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
    exchanges = f"{counted(total, 'exchange')}{between and f' {between}'} failed"
    if len(causes) == 1:
        return f"{exchanges}, {'all ' * (total > 1)}{next(iter(causes))}"
    return f"{exchanges}: {', '.join(f'{count} {cause}' for cause, count in causes.most_common())}"


def _cause(attempt: TaughtNothing) -> str:
    if attempt.faults:
        return f"by {', '.join(attempt.faults)}"
    return attempt.fate if attempt.fate in (*_CAUSES, "stale", "held") else f"because {attempt.fate}"
