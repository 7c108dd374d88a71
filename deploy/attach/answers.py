"""What people are told about a request to a live run and its answer: sentences. Commands print them, and screens show
them; nothing is requested here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from broker.control_entries import Planned
from broker.faults.grammar import Line
from broker.faults.syntax import format_duration
from deploy.attach.live_plan import MOST_TO_COME, Later, RequestOutcome
from telemetry.console import printable
from telemetry.phrases import counted

SETTINGS_UNKNOWN: Final = "not known here, the run's settings are on another host"


def answer_lines(answer: RequestOutcome) -> Iterator[str]:
    """What a request changed, and how soon."""
    after = f"after {round(answer.elapsed_us / 1000)} ms"
    if answer.relays == 0:  # it concerned process faults alone
        yield f"acknowledged by the supervisor {after}"
        return
    yield f"plan: {_texts(answer.old.faults)} → {_texts(answer.new.faults)}"
    yield f"in force at {counted(answer.relays, 'relay')} {after}"


def dated_lines(lines: Iterable[Line]) -> list[Line]:
    """Those that begin later than now."""
    return [line for line in lines if line.when.start_us]


def begin_lines(lines: Iterable[Line]) -> Iterator[str]:
    """What begins later than now, and when."""
    for line in dated_lines(lines):
        yield f"begins in {format_duration(line.when.start_us or 0)}: {line.text()}"


def left_lines(run: str, left: Sequence[Later] | None) -> Iterator[str]:
    """What a heal leaves to come."""
    if left is None:
        yield f"what is dated to begin later still does; {SETTINGS_UNKNOWN}"
        return
    for later in left[:MOST_TO_COME]:
        yield f"still to come: {planned_text(later.planned)}, in {seconds_text(later.in_us)}"
    if len(left) > MOST_TO_COME:
        yield f"and {len(left) - MOST_TO_COME} more"
    if left:
        yield f"cancel one with: robots faults clear '#{left[0].planned.instance}' {run}"


def planned_text(planned: Planned) -> str:
    """A fault with the number of its dice."""
    return f"#{planned.instance} {printable(planned.text)}"


def seconds_text(microseconds: int) -> str:
    """`3.2 s`."""
    return f"{microseconds / 1e6:.1f} s"


def _texts(faults: Iterable[Planned]) -> str:
    return ", ".join(printable(planned.text) for planned in faults) or "calm"
