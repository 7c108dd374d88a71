"""Patient: the writer was complete, then quiet for its period, and only then wrote. Judged by journals and register.

Entries and ticks alone convict. Clocks may be wrong: they can only make the promise UNPROVEN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil

from telemetry.verdict.case import Case
from telemetry.verdict.checks.witnesses import CLOCKS_DIFFER_US
from telemetry.verdict.evidence.journals import PartEntry, QuietEntry, RobotJournal, is_whole
from telemetry.verdict.evidence.schema import CompleteRow, SettingsFile
from telemetry.verdict.finding import Finding, broken, held, unproven, worst

SHORTEST_TICK = 0.8  # of the nominal one: ticks are jittered by a fifth


def patient(case: Case) -> Finding:
    """The writer was complete, and then quiet for the quiet period, before it wrote; no robot tried without being
    quiet."""

    def findings() -> Iterator[Finding]:
        writer = (case.write.robot, case.write.incarnation)
        for robot, life in sorted(case.tries | {writer}):
            journal = case.journals.get(robot, RobotJournal(robot, [], lost=True))
            quiets = [quiet for quiet in journal.quiets if quiet.incarnation == life]
            if journal.lost:
                yield unproven(f"the journal of {robot}, which tried to write, is not there")
            elif not quiets:
                yield broken(f"{robot} tried to write without having been quiet", f"journal of {robot}, life {life}")
            elif (robot, life) == writer:
                yield from _against_writer(case, journal, quiets)

    why = "the writer was complete, then quiet for its period, and only then wrote"
    return worst(findings(), otherwise=held(why, len(case.tries)))


def _against_writer(case: Case, journal: RobotJournal, quiets: list[QuietEntry]) -> Iterator[Finding]:
    """Findings against the writer, by the quiet entries of its life."""
    for quiet in quiets:
        yield from _against_quiet(journal, quiet, case.settings)
    yield from _late(quiets[0], journal.robot, case.attempted_us)


def _against_quiet(journal: RobotJournal, quiet: QuietEntry, settings: SettingsFile) -> Iterator[Finding]:
    """Findings against one quiet entry."""
    witness = journal.witness(quiet.incarnation, quiet.number)
    complete = _completion(journal, quiet)
    start = complete[0] if complete else (quiet.incarnation, 1)
    needed = ceil(settings.quiet_period_us / settings.tick_us)
    if not is_whole(part.row for part in _parts_before(journal, start)):
        yield broken(f"{journal.robot} was not complete when it began to wait", witness)
    for part in _parts_before(journal, (quiet.incarnation, quiet.number)):
        if start < (part.incarnation, part.number):
            yield broken("a part came while the writer waited", journal.witness(part.incarnation, part.number))
    if quiet.row.ticks < needed:
        yield broken(f"{journal.robot} was quiet for {quiet.row.ticks} ticks, {needed} were needed", witness)
    if complete and quiet.row.at_us - complete[1].at_us < (needed - 1) * settings.tick_us * SHORTEST_TICK:
        waited_ms = (quiet.row.at_us - complete[1].at_us) // 1000
        yield unproven(
            f"the clock and the ticks of {journal.robot} disagree: only {waited_ms} ms lie between complete and quiet, "
            f"too few for {needed} ticks"
        )


def _late(quiet: QuietEntry, robot: str, attempted_us: int | None) -> Iterator[Finding]:
    """A doubt when the writer's first quiet entry is later than its write by more than clocks usually differ."""
    if attempted_us is not None and quiet.row.at_us - attempted_us > CLOCKS_DIFFER_US:
        late_ms = (quiet.row.at_us - attempted_us) // 1000
        yield unproven(f"the clocks of {robot} and of the server disagree: quiet is {late_ms} ms after the write")


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
