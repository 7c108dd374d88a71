"""`robots kill`, `pause`, `resume` and `crash`: one process fault at once, in one word.

They are shorthands of `robots faults set`, which also decides what is allowed.
"""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.faults.syntax import format_duration, parse_duration
from deploy.attach.plan_requests import set_lines, set_request
from deploy.commands.output import json_line, print_result
from deploy.commands.service import Run, plan_of
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import UsageError

EXAMPLES: Final = """\
Examples:

  robots kill r03
  robots kill relay:0 7b08e1
  robots pause r01 --for 3s
  robots resume r01
  robots crash r03/secret_merger

TARGET is r03 (a robot's process), rq:r03 (its RQ worker), relay:1 or redis.
Where it makes sense it is also robot (any), relay (any) or supervisor.

Faults with a time, repeated faults, and the other faults of processes:

  robots faults set "kill robot @2s every 1s; restart r03 @5s"
"""


def _target(text: str) -> Parameter:
    return Parameter(name="TARGET", allow_leading_hyphen=False, help=text)


kill_app = App(name="kill", help_epilogue=EXAMPLES)
pause_app = App(name="pause", help_epilogue=EXAMPLES)
resume_app = App(name="resume", help_epilogue=EXAMPLES)
crash_app = App(name="crash", help_epilogue=EXAMPLES)


@kill_app.default
@takes(PlaceSettings)
def kill(
    target: Annotated[str, _target("r03, robot, rq:r03, relay, relay:1, supervisor or redis.")],
    run: Run = None,
    /,
    *,
    given: Given,
) -> int:
    """Kill a process of a live run."""
    return _inject(f"kill {_one(target)}", run, load_place(given))


@pause_app.default
@takes(PlaceSettings)
def pause(
    target: Annotated[str, _target("r03, robot, rq:r03, relay, relay:1 or redis.")],
    run: Run = None,
    /,
    *,
    for_: Annotated[str, Parameter(name="--for", metavar="TIME", help="How long it is stopped.")] = "5s",
    given: Given,
) -> int:
    """Stop a process of a live run, and let it go on later."""
    try:
        duration = format_duration(parse_duration(for_))
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    return _inject(f"pause {_one(target)} @0s+{duration}", run, load_place(given), f" for {duration}")


@resume_app.default
@takes(PlaceSettings)
def resume(
    target: Annotated[str, _target("A paused process: r03, rq:r03, relay:1 or redis.")],
    run: Run = None,
    /,
    *,
    given: Given,
) -> int:
    """Let a paused process of a live run go on before its time, whichever pause of the lab stopped it."""
    return _inject(f"resume {_one(target)}", run, load_place(given))


@crash_app.default
@takes(PlaceSettings)
def crash(
    target: Annotated[str, _target("A robot and its worker: r03/secret_merger.")],
    run: Run = None,
    /,
    *,
    given: Given,
) -> int:
    """Crash one worker of a robot in a live run; its siblings run on."""
    return _inject(f"crash {_one(target)}", run, load_place(given))


def _one(target: str) -> str:
    """TARGET, without further faults or times. Raises UsageError."""
    if ";" in target or len(target.split()) > 1:
        raise UsageError(f"TARGET: {target!r} is more than one process; several, or with a time: robots faults set")
    return target


def _inject(text: str, run: str | None, place: PlaceSettings, for_how_long: str = "") -> int:
    lines = set_lines([text])
    with plan_of(place, run) as plan:
        answer = plan.request(set_request(lines, plan))
    asked = lines[0].fault.text() + for_how_long
    row = {"run": plan.run, "request": answer.request, "asked": asked, "seconds": answer.elapsed_us / 1e6}
    print_result(json_line(row) if place.json_ else f"asked run {plan.run}: {asked}")
    return 0
