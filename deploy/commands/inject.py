"""`robots kill`, `pause`, `resume` and `crash`: the process faults that a person wants at once, as one word each.

Shorthands, nothing more: what is asked for, and what may be, is as `robots faults set` has it.
"""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import Parameter

from broker.faults.syntax import format_duration, parse_duration
from deploy.attach.plan_requests import set_lines, set_request
from deploy.commands.faults import Where
from deploy.commands.output import show
from deploy.commands.service import Run
from deploy.errors import UsageError
from deploy.lifecycle.recording import json_line

EXAMPLES: Final = """\
Examples:

  robots kill r03
  robots kill relay:0 7b08e1
  robots pause r01 --for 3s
  robots resume r01
  robots crash r03/secret_merger

What is dated or comes again, and whatever else can be done to processes, is asked for with:

  robots faults set "kill robot @2s every 1s; restart r03 @5s"
"""

_HERE: Final = Where()

_Target = Annotated[
    str,
    Parameter(
        name="TARGET",
        allow_leading_hyphen=False,
        help="Who: r03 (its process), rq:r03 (its RQ worker), relay, relay:1, supervisor, redis or robot (any).",
    ),
]

_Stopped = Annotated[
    str,
    Parameter(
        name="TARGET",
        allow_leading_hyphen=False,
        help="Who: r03 (its process), rq:r03 (its RQ worker), relay, relay:1, redis or robot (any).",
    ),
]

_Paused = Annotated[
    str,
    Parameter(
        name="TARGET",
        allow_leading_hyphen=False,
        help="Who is paused: r03 (its process), rq:r03 (its RQ worker), relay:1 or redis.",
    ),
]

_Worker = Annotated[
    str, Parameter(name="TARGET", allow_leading_hyphen=False, help="A robot and its worker: r03/secret_merger.")
]


def kill(target: _Target, run: Run = None, /, *, where: Where = _HERE) -> int:
    """Kill a process of a live run, between two instructions. Its successor is what the run is there to show."""
    return _inject(f"kill {_one(target)}", run, where)


def pause(
    target: _Stopped,
    run: Run = None,
    /,
    *,
    for_: Annotated[str, Parameter(name="--for", help="How long it does nothing, and does not notice.")] = "5s",
    where: Where = _HERE,
) -> int:
    """Stop a process of a live run, and let it go on later."""
    try:
        duration = format_duration(parse_duration(for_))
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    return _inject(f"pause {_one(target)} @0s+{duration}", run, where, f" for {duration}")


def resume(target: _Paused, run: Run = None, /, *, where: Where = _HERE) -> int:
    """Let a paused process of a live run go on before its time, whichever of the lab's pauses stopped it."""
    return _inject(f"resume {_one(target)}", run, where)


def crash(target: _Worker, run: Run = None, /, *, where: Where = _HERE) -> int:
    """Crash one worker of a robot in a live run; its siblings run on."""
    return _inject(f"crash {_one(target)}", run, where)


def _one(target: str) -> str:
    """TARGET, which must not bring further faults or times along. Raises Unfit."""
    if ";" in target or len(target.split()) > 1:
        raise UsageError(f"TARGET: {target!r} is more than one process; several, or with a time: robots faults set")
    return target


def _inject(text: str, run: str | None, where: Where, for_how_long: str = "") -> int:
    lines = set_lines([text])
    with where.plan(run) as plan:
        answer = plan.request(set_request(lines, plan))
    asked = lines[0].fault.text() + for_how_long
    row = {"run": plan.run, "request": answer.request, "asked": asked, "seconds": answer.elapsed_us / 1e6}
    show(json_line(row) if where.json_ else f"asked run {plan.run}: {asked}")
    return 0
