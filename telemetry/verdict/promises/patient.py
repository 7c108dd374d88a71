"""Patient: each life that tried to write was complete, then quiet for its period, and only then tried. Judged by
journals, register and birth streams, whether it was accepted or refused.

Entries and ticks convict, and one clock against itself: by the server's clock, a life's first attempt comes no earlier
after its birth, after the order `go`, and after the sending of every envelope that it had merged parts of, than its
ticks take. n ticks take n - 1 times four fifths of the nominal tick, at least. A gossip initiator that crashed begins
with a new phase, which may save one tick.

Two clocks may differ: they can only make the promise UNPROVEN. So does a life that counted ticks and sent no summary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Final

from telemetry.events import WorkerCrashed
from telemetry.verdict.case import Case
from telemetry.verdict.checks.clock_steps import set_back_us, was_server_set_back
from telemetry.verdict.checks.witnesses import CLOCKS_DIFFER_US
from telemetry.verdict.evidence.births import Births
from telemetry.verdict.evidence.journals import Life, PartEntry, QuietEntry, RobotJournal, is_whole
from telemetry.verdict.evidence.schema import BirthStreamRow, CompleteRow
from telemetry.verdict.finding import Finding, broken, held, unproven, worst

_INITIATOR: Final = "gossip_initiator"


def patient(case: Case) -> Finding:
    """Every life that wrote, or tried to, was complete, and then quiet for the quiet period, before it did."""
    lives = case.tries | {(write.robot, write.incarnation) for write in case.robots_writes}

    def findings() -> Iterator[Finding]:
        for robot, life in sorted(lives):
            journal = case.journals.get(robot, RobotJournal(robot, [], lost=True))
            quiets = [quiet for quiet in journal.quiets if quiet.incarnation == life]
            if journal.lost:
                yield unproven(f"the journal of {robot}, which tried to write, is not there")
            elif not quiets:
                yield broken(f"{robot} tried to write without having been quiet", f"journal of {robot}, life {life}")
            else:
                for quiet in quiets:
                    yield from _against_quiet(case, journal, quiet)
                yield from _against_attempt(case, journal, quiets[0])
        if not case.register.exists:
            yield unproven("the register is gone: what was written into it cannot be known")
        elif case.written is None:
            yield unproven("nothing was written")

    why = "the writer was complete, then quiet for its period, and only then wrote"
    return worst(findings(), otherwise=held(why, len(lives)))


def _against_quiet(case: Case, journal: RobotJournal, quiet: QuietEntry) -> Iterator[Finding]:
    """Findings against one quiet entry."""
    witness = journal.witness(quiet.incarnation, quiet.number)
    complete = _completion(journal, quiet)
    start = complete[0] if complete else (quiet.incarnation, 1)
    needed = ceil(case.settings.quiet_period_us / case.settings.tick_us)
    if not is_whole(part.row for part in _parts_before(journal, start)):
        yield broken(f"{journal.robot} was not complete when it began to wait", witness)
    for part in _parts_before(journal, (quiet.incarnation, quiet.number)):
        if start < (part.incarnation, part.number):
            yield broken("a part came while the writer waited", journal.witness(part.incarnation, part.number))
    if quiet.row.ticks < needed:
        yield broken(f"{journal.robot} was quiet for {quiet.row.ticks} ticks, {needed} were needed", witness)
    shortest_us = _shortest_us(case, (journal.robot, quiet.incarnation), needed)
    if complete and quiet.row.at_us - complete[1].at_us < shortest_us:
        waited_ms = (quiet.row.at_us - complete[1].at_us) // 1000
        yield unproven(
            f"the clock and the ticks of {journal.robot} disagree: only {waited_ms} ms lie between complete and quiet, "
            f"too few for {needed} ticks"
        )


def _against_attempt(case: Case, journal: RobotJournal, quiet: QuietEntry) -> Iterator[Finding]:
    """Findings against the first attempt of a life, by its first quiet entry."""
    life = (journal.robot, quiet.incarnation)
    attempts = [row for row in case.attempts_of.get(life, ()) if row.at_us is not None]
    if attempts:
        attempt = min(attempts, key=_time_of)
        yield from _too_soon(case, journal, quiet, attempt)
        late_us = quiet.row.at_us - _time_of(attempt)
        if late_us > CLOCKS_DIFFER_US:
            yield unproven(
                f"the clocks of {journal.robot} and of the server disagree: quiet is {late_us // 1000} ms after the "
                "write"
            )
    if len(case.members) > 1 and life not in case.traffic.initiators:
        yield unproven(f"{life[0]}/{life[1]} counted {quiet.row.ticks} ticks, and the fates show no summary of it")


def _too_soon(case: Case, journal: RobotJournal, quiet: QuietEntry, attempt: BirthStreamRow) -> Iterator[Finding]:
    """The life had less time, by the server's clock, than its ticks take."""
    life = (journal.robot, quiet.incarnation)
    had_us = _time_of(attempt) - 1000 * _waits_since_ms(case, journal, quiet)
    shortest_us = _shortest_us(case, life, quiet.row.ticks)
    if had_us >= shortest_us:
        return
    why = (
        f"{life[0]}/{life[1]} counted {quiet.row.ticks} quiet ticks, which take {shortest_us // 1000} ms at least, "
        f"and tried to write after {max(0, had_us) // 1000} ms"
    )
    if had_us < 0 or was_server_set_back(case):  # no attempt comes before what it follows
        yield unproven(f"{why}; but the server's clock was set back")
    elif set_back_us(case) >= shortest_us - had_us:
        yield unproven(f"{why}; but the clock of a robot was set back by {set_back_us(case) / 1e6:.1f} s")
    else:
        yield broken(why, f"birth stream of {journal.robot}, entry {attempt.id}")


def _waits_since_ms(case: Case, journal: RobotJournal, quiet: QuietEntry) -> int:
    """The earliest time (server's clock) at which the life may have begun to count: it was born, the order `go` was
    given, and all that it merged was sent."""
    life, sent_ms = quiet.incarnation, case.traffic.sent_ms
    went_ms = None if "streams" in case.damage else case.order_ms("go")
    merged = [part for part in _parts_before(journal, (life, quiet.number)) if part.incarnation == life]
    causes = [part.row.cause for part in merged if part.row.cause is not None]
    return max(
        case.births.get(journal.robot, Births()).at_ms(life),
        went_ms or 0,
        *(sent_ms.get((sender, sent_in, journal.robot, sequence), 0) for sender, sent_in, sequence, _ in causes),
    )


def _shortest_us(case: Case, life: Life, ticks: int) -> int:
    """The shortest time that so many ticks of a life take."""
    phases = 1 + _crashes_of_the_initiator(case, life)
    return max(0, ticks - phases) * case.settings.tick_us * 4 // 5


def _crashes_of_the_initiator(case: Case, life: Life) -> int:
    """How often it may have begun with a new phase: crashes that the life reports, and injected ones of that robot. One
    of both files must be there."""
    count = 0
    if "events" not in case.damage:
        events = case.testimony.get(life, ())
        count += sum(isinstance(each.event, WorkerCrashed) and each.event.worker == _INITIATOR for each in events)
    if "fleet" not in case.damage or "events" in case.damage:
        count += sum(injection.victim == f"{life[0]}/{_INITIATOR}" for injection in case.fleet.injections)
    return count


def _completion(journal: RobotJournal, quiet: QuietEntry) -> tuple[tuple[int, int], CompleteRow] | None:
    """The last `complete` entry of that life before `quiet`, with its place; None: the life was born complete."""
    found = None
    for entry in journal.entries:
        place = (entry.incarnation, entry.number)
        if isinstance(entry.row, CompleteRow) and (quiet.incarnation, 1) < place < (quiet.incarnation, quiet.number):
            found = place, entry.row
    return found


def _parts_before(journal: RobotJournal, place: tuple[int, int]) -> Iterable[PartEntry]:
    return (part for part in journal.parts if (part.incarnation, part.number) < place)


def _time_of(attempt: BirthStreamRow) -> int:
    return attempt.at_us or 0
