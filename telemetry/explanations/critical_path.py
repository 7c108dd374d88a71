"""From `go` to the write: the one chain of steps each of which waited for the one before, and where its time went.

It is followed backwards: the write waited for the quiet period, that for the writer's last part, and this for each
robot that passed it on.
"""

from __future__ import annotations

from collections.abc import Iterator

from telemetry.events import RobotQuiet, Stamped
from telemetry.explanations.attempts import summed_up
from telemetry.explanations.chains import Hop, hops
from telemetry.explanations.explanation import Step
from telemetry.explanations.lives import life_steps, outages
from telemetry.explanations.run_index import RunIndex
from telemetry.phrases import in_brackets, seconds


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
    waited_us = hop.sent_us - hop.had_us
    if waited_us > 0:
        yield _waiting(index, hop, part, waited_us)
    if hop.learnt_us is not None:
        on_its_way_us = max(0, hop.learnt_us - hop.sent_us)
        text = f"on its way from {hop.teacher} to {hop.learner}, in the {hop.kind} of exchange {hop.exchange}"
        text += in_brackets(", ".join(hop.faults))
        lives = (step.text for step in life_steps(index, hop.learner, hop.sent_us, hop.learnt_us))
        text += "".join(f"; {happened}" for happened in (*lives, *outages(index, hop.sent_us, hop.learnt_us)))
        yield _step(index, hop.sent_us, on_its_way_us, text, hop.faults)


def _waiting(index: RunIndex, hop: Hop, part: int, waited_us: int) -> Step:
    """Why the teacher sent the part only then."""
    deaths = [step.text for step in life_steps(index, hop.teacher, hop.had_us, hop.sent_us or 0)]
    deaths += [step.text for step in life_steps(index, hop.learner, hop.had_us, hop.sent_us or 0)]
    whys = [summed_up(hop.failed), *deaths, *outages(index, hop.had_us, hop.sent_us or hop.had_us)]
    why = "; ".join(filter(None, whys)) or "their first exchange since then came only now"
    faults = tuple(dict.fromkeys(fault for attempt in hop.failed for fault in attempt.faults))
    text = f"{hop.learner} waited for part {part}, which {hop.teacher} held: {why}"
    return _step(index, hop.had_us, waited_us, text, faults)


def _after_complete(index: RunIndex, write: Stamped, complete_us: int) -> Iterator[Step]:
    quiets = [stamped for stamped in index.reported(write.source, RobotQuiet) if stamped.wall_us <= write.wall_us]
    if not quiets:
        yield _step(index, complete_us, write.wall_us - complete_us, f"{write.source} waited, and wrote")
        return
    quiet = quiets[-1]
    ticks = quiet.event.ticks if isinstance(quiet.event, RobotQuiet) else 0
    deaths = [step.text for step in life_steps(index, write.source, complete_us, quiet.wall_us)]
    deaths += outages(index, complete_us, quiet.wall_us)
    text = (
        f"{write.source} was complete, and waited for its quiet period: {ticks} ticks without news, and an answer of a"
    )
    text = f"{text} peer that knew the same" + "".join(f"; {death}" for death in deaths)
    yield _step(index, complete_us, quiet.wall_us - complete_us, text)
    yield _step(index, quiet.wall_us, write.wall_us - quiet.wall_us, f"{write.source} wrote the secret")


def _step(index: RunIndex, at_us: int, took_us: int, text: str, faults: tuple[str, ...] = ()) -> Step:
    took_us = max(0, took_us)
    return Step(
        f"{seconds(took_us):>7}: {text}", at_s=index.after_go_s(at_us), took_s=round(took_us / 1e6, 3), faults=faults
    )
