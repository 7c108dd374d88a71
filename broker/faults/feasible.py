"""What a run can never do of its fault plan, known before it is tried. Pure.

`robots run`, `simulate` and `deal` refuse such a plan before the start, and the leader refuses such a request. Here
stands only what no course of the run can change. What is a matter of the moment, such as a robot that is dead when it
is to be killed, shows when the time comes (robots/run/chaos.py). A robot that has not joined yet is no robot of the
run: a number above the dealt ones is far more often a mistake, and a request may name the robot once it has joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from broker.envelope import robot_name
from broker.faults.grammar import Line
from broker.faults.process_faults import Contradict, Pause, ProcessFault, Resume
from broker.faults.registry import Heal
from broker.faults.schedule import Schedule, Timed
from broker.faults.syntax import LONGEST_TEXT, format_duration

Lab = Literal["run", "guest", "cluster", "simulation"]
"""Who runs it: `robots run` with a server of its own, the same on another's server (`guest`), supervisors of a run that
was dealt (`cluster`), or `robots simulate`."""

_NO_SUCCESSOR: Final = "no other supervisor could follow; one can in a run of `robots deal`"
_OTHERS_SERVER: Final = "the server is not the lab's own; without --redis-url it is"
_OUT_OF_REACH: Final = "no supervisor can reach it; `robots run` can"
_NO_RESUME: Final = "an RQ worker of another host could not be resumed; `robots run` can pause its own"

_BEYOND: Final[Mapping[tuple[Lab, str], str]] = {
    ("run", "supervisor"): _NO_SUCCESSOR,
    ("guest", "supervisor"): _NO_SUCCESSOR,
    ("guest", "redis"): _OTHERS_SERVER,
    ("cluster", "relay"): _OUT_OF_REACH,
    ("cluster", "redis"): _OUT_OF_REACH,
    ("cluster", "pause rq"): _NO_RESUME,
    ("simulation", "supervisor"): "a simulation has no supervisor",
    ("simulation", "pause rq"): "in a simulation an RQ worker is no process of its own; its robot can be paused",
}
"""Why a lab cannot reach a kind of process, or not with a verb."""

_SECOND_US: Final = 1_000_000
_SHOWN: Final = 80  # characters of a line that a problem repeats


class RunFacts(msgspec.Struct, frozen=True):
    """What is known of a run before its faults are tried: how many robots it has by now, how many relays, for how long
    it goes on at least and at most (from `go`), and the numbers of the robots that were dealt a part. None is for what
    is not known to the one who asks: nothing is a problem for that reason."""

    robots: int
    relays: int
    for_us: int | None = None
    limit_us: int | None = None
    holders: frozenset[int] | None = None
    lab: Lab | None = None


def plan_problems(plan: Sequence[Timed], facts: RunFacts) -> list[str]:
    """Why the lines of a plan are not allowed before the run, each reason in one line that begins with its line."""
    problems = [line_problem(planned.line, planned.line.when.start_us or 0, facts) for planned in plan]
    problems += [*_healed_problems(plan)]
    if facts.lab == "simulation":  # in a live run a person may pause a process at any time
        problems += [*_resume_problems(plan, facts.for_us or 0)]
    return [problem for problem in problems if problem is not None]


def line_problem(line: Line, begin_us: int, facts: RunFacts) -> str | None:
    """Why `line`, which begins `begin_us` after `go`, is not allowed, in one line that begins with the line itself;
    None when it is."""
    if len(line.text()) > LONGEST_TEXT:  # written shorter it could be read, but what relays get is this
        return f"{_quoted(line)}: written out it has {len(line.text())} characters; allowed are {LONGEST_TEXT}"
    problem = _place_problem(line, facts) or _time_problem(line, begin_us, facts)
    return None if problem is None else f"{_quoted(line)}: {problem}"


def _place_problem(line: Line, facts: RunFacts) -> str | None:
    target = line.fault.target
    if target.highest is not None and target.highest >= facts.robots:
        names = f"{robot_name(0, facts.robots)} to {robot_name(facts.robots - 1, facts.robots)}"
        return f"r{target.highest:02d} is none of the robots; they are {names}"
    if target.is_empty:
        return "it is for no envelope, because no robot sends to itself; name two different robots"
    return _process_problem(line.fault, facts) if isinstance(line.fault, ProcessFault) else None


def _process_problem(fault: ProcessFault, facts: RunFacts) -> str | None:
    relay, kind = fault.process.relay, fault.process.kind
    if relay is not None and relay >= facts.relays:
        return f"there is no relay:{relay}; they are relay:0 to relay:{facts.relays - 1}"
    if isinstance(fault, Contradict) and facts.holders is not None and fault.process.robot not in facts.holders:
        some = ", ".join(robot_name(number, facts.robots) for number in sorted(facts.holders)[:5])
        return f"{fault.target_text} is dealt no part that could be contradicted; dealt some are {some}"
    if facts.lab is None:
        return None
    # A resume needs a pause of the same kind of process, so it is possible where that is.
    verb = Pause.name if isinstance(fault, Resume) else fault.name
    return _BEYOND.get((facts.lab, kind)) or _BEYOND.get((facts.lab, f"{verb} {kind}"))


def _time_problem(line: Line, begin_us: int, facts: RunFacts) -> str | None:
    every_us = line.when.every_us
    if facts.limit_us is not None and begin_us >= facts.limit_us:
        limit = format_duration(facts.limit_us)
        return f"it would begin {begin_us / 1e6:.1f} s after go, when the run is over: --limit is {limit}"
    if every_us is not None and facts.for_us is not None and begin_us >= facts.for_us:
        longer_s = (begin_us + 3 * every_us) // _SECOND_US + 1
        return (
            f"it would come again only until --for, which is {format_duration(facts.for_us)};"
            f" start the run with a longer one, such as --for {longer_s}s"
        )
    return None


def _healed_problems(plan: Sequence[Timed]) -> Iterator[str]:
    """Of lines that a heal ends in the microsecond in which they begin."""
    heals = [planned for planned in plan if isinstance(planned.line.fault, Heal)]
    for planned in plan:
        start_us = planned.line.when.start_us
        if any(heal.line.when.start_us == start_us and heal.instance > planned.instance for heal in heals):
            yield f"{_quoted(planned.line)}: the heal at the same time ends it before it acts"


def _resume_problems(plan: Sequence[Timed], for_us: int) -> Iterator[str]:
    """Of lines that resume a process which no pause of the plan can have stopped by then."""
    pauses = [
        (fault, occurrences)
        for fault, occurrences in Schedule(plan, for_us).process_faults.values()
        if isinstance(fault, Pause)
    ]
    for fault, line in ((planned.line.fault, planned.line) for planned in plan):
        if isinstance(fault, Resume) and line.when.every_us is None:
            at_us = line.when.start_us or 0
            if not any(_may_stop(pause, fault) and occurrences.is_on(at_us) for pause, occurrences in pauses):
                yield f"{_quoted(line)}: no pause of {fault.target_text} goes on by then"


def _may_stop(pause: Pause, resume: Resume) -> bool:
    """Whether the process that is to be resumed is, or may be, the one that is paused."""
    is_any = pause.process.is_any and pause.process.kind == resume.process.kind
    return is_any or pause.process == resume.process


def _quoted(line: Line) -> str:
    text = line.text()
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
