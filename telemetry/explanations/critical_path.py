"""From `go` to the write: the one chain of steps each of which waited for the one before, and where its time went.

It is followed backwards: the write waited for the quiet period, that for the writer's last part, and this for each
robot that passed it on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from telemetry.events import RobotQuiet, Stamped
from telemetry.explanations.attempts import lag_text, summed_up
from telemetry.explanations.chains import Hop, awaited_text, hops
from telemetry.explanations.explanation import Step
from telemetry.explanations.lives import dated, life_steps, outages, stalls
from telemetry.explanations.run_index import RunIndex
from telemetry.explanations.writing import confirmed
from telemetry.phrases import counted, in_brackets, seconds
from telemetry.record.rows import ms_of


def critical_path(index: RunIndex, write: Stamped) -> list[Step]:
    """The steps from `go` to the write, in order; each with its length."""
    writer = write.source
    part = index.last_part(writer)
    steps: list[Step] = []
    complete_us = index.go_us or 0
    if part is not None:
        chain = hops(index, writer, part)
        for hop in chain:
            steps += _hop_steps(index, hop, part)
        complete_us = index.learnt_us(writer, part) or complete_us
    return [*steps, *_after_complete(index, write, complete_us)]


def longest(steps: list[Step]) -> Step | None:
    """The step that took longest."""
    return max(steps, key=lambda step: step.took_s or 0.0, default=None)


def _hop_steps(index: RunIndex, hop: Hop, part: int) -> Iterator[Step]:
    if hop.sent_us is None:
        yield Step(f"{hop.learner} learnt part {part} from {hop.teacher}; the message has no recorded fate")
        return
    if hop.had_us is None:
        yield Step(f"when {hop.teacher} had part {part} is not known")
    if hop.waited_us > 0:
        yield _waiting(index, hop, part)
    if hop.way_us is None:
        return
    came_us = hop.sent_us + hop.way_us
    text = f"on its way from {hop.teacher} to {hop.learner}, in the {hop.kind} of exchange {hop.exchange}"
    text += (
        in_brackets(", ".join(hop.faults))
        + lag_text(hop.lag_us)
        + _meanwhile([*life_steps(index, hop.learner, hop.sent_us, came_us), *outages(index, hop.sent_us, came_us)])
    )
    yield _step(index, hop.sent_us, hop.way_us, text, hop.faults)
    if hop.kept_us:
        until_us = came_us + hop.kept_us
        text = f"{hop.learner} had received it, and merged it only then"
        text += _meanwhile([*life_steps(index, hop.learner, came_us, until_us), *stalls(index, came_us, until_us)])
        yield _step(index, came_us, hop.kept_us, text)


def _waiting(index: RunIndex, hop: Hop, part: int) -> Step:
    """Why the teacher sent the part only then."""
    had_us, sent_us = hop.had_us or 0, hop.sent_us or 0
    steps = [*life_steps(index, hop.teacher, had_us, sent_us), *life_steps(index, hop.learner, had_us, sent_us)]
    steps += outages(index, had_us, sent_us)
    whys = [awaited_text(index, hop), summed_up(hop.failed), *map(dated, steps)]
    why = "; ".join(filter(None, whys)) or _nothing_wrong(index, hop)
    faults = [fault for awaited in hop.awaited for fault in awaited.faults]
    faults += [fault for attempt in hop.failed for fault in attempt.faults]
    text = f"{hop.learner} waited for part {part}, which {hop.teacher} held: {why}"
    return _step(index, had_us, hop.waited_us, text, tuple(dict.fromkeys(faults)))


def _nothing_wrong(index: RunIndex, hop: Hop) -> str:
    """Why a part was sent only then, where nothing failed and nothing was late."""
    had_us, sent_us = hop.had_us or 0, hop.sent_us or 0
    pair = index.exchanges.get(frozenset((hop.teacher, hop.learner)), {})
    rows = [row for of_exchange in pair.values() for row in of_exchange if row.sender == hop.teacher]
    times = [ms_of(row.id) * 1000 for row in rows]
    times += [each.wall_us for each, event in index.undecided if (each.source, event.receiver) == hop.ends]
    earlier = sum(had_us <= at_us < sent_us for at_us in times)
    if earlier:
        return f"{counted(earlier, 'envelope')} that {hop.teacher} had sent it since then did not bring it"
    return f"{hop.teacher} sent it nothing before"


def _meanwhile(steps: Iterable[Step]) -> str:
    return "".join(f"; {dated(step)}" for step in steps)


def _after_complete(index: RunIndex, write: Stamped, complete_us: int) -> Iterator[Step]:
    quiets = [stamped for stamped in index.reported(write.source, RobotQuiet) if stamped.wall_us <= write.wall_us]
    if not quiets:
        yield _step(index, complete_us, write.wall_us - complete_us, f"{write.source} waited, and wrote")
        return
    quiet = quiets[-1]
    ticks = quiet.event.ticks if isinstance(quiet.event, RobotQuiet) else 0
    text = f"{write.source} was complete, and waited for its quiet period: {ticks} ticks without news"
    text += confirmed(index, write.source, quiet) + _meanwhile(
        [*life_steps(index, write.source, complete_us, quiet.wall_us), *outages(index, complete_us, quiet.wall_us)]
    )
    yield _step(index, complete_us, quiet.wall_us - complete_us, text)
    yield _step(index, quiet.wall_us, write.wall_us - quiet.wall_us, f"{write.source} wrote the secret")


def _step(index: RunIndex, at_us: int, took_us: int, text: str, faults: tuple[str, ...] = ()) -> Step:
    took_us = max(0, took_us)
    return Step(
        f"{seconds(took_us):>7}: {text}", at_s=index.after_go_s(at_us), took_s=round(took_us / 1e6, 3), faults=faults
    )
