"""`robots kill`, `pause`, `resume`, `restart`, `crash`, `contradict` and `amnesia`: one process fault at once, in one
word, and what became of it.

The request is the one of `robots faults set`; that command changes the plan, and waits for no injection.
"""

from __future__ import annotations

import time
from typing import Annotated, Final

from cyclopts import App, Parameter
from msgspec.structs import replace

from broker.faults.syntax import format_duration, parse_duration
from deploy.attach.outcomes import asked_text, inject, outcome_line
from deploy.attach.plan_requests import set_lines
from deploy.commands.output import print_result, report
from deploy.commands.outputs import InjectionAnswer, answer_line
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
  robots restart rq:r03
  robots crash r03/secret_merger
  robots contradict r03

TARGET is r03 (a robot's process), rq:r03 (its RQ worker), relay:1 or redis.
Where it makes sense it is also robot (any), relay (any) or supervisor.

The command waits until it is done, and for the death that follows. What the
run can never do ends with exit code 2, what it could not do now with 4.

Faults with a time, and repeated faults:

  robots faults set "kill robot @2s every 1s; restart r03 @5s"
"""


def _target(text: str) -> Parameter:
    return Parameter(name="TARGET", allow_leading_hyphen=False, help=text)


kill_app = App(name="kill", help_epilogue=EXAMPLES)
pause_app = App(name="pause", help_epilogue=EXAMPLES)
resume_app = App(name="resume", help_epilogue=EXAMPLES)
restart_app = App(name="restart", help_epilogue=EXAMPLES)
crash_app = App(name="crash", help_epilogue=EXAMPLES)
contradict_app = App(name="contradict", help_epilogue=EXAMPLES)
amnesia_app = App(name="amnesia", help_epilogue=EXAMPLES)


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
    return _inject(f"pause {_one(target)} @0s+{duration}", run, load_place(given))


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


@restart_app.default
@takes(PlaceSettings)
def restart(
    target: Annotated[str, _target("r03, robot, rq:r03, relay, relay:1 or redis.")],
    run: Run = None,
    /,
    *,
    given: Given,
) -> int:
    """End a process of a live run in order; it is started again."""
    return _inject(f"restart {_one(target)}", run, load_place(given))


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


@contradict_app.default
@takes(PlaceSettings)
def contradict(
    target: Annotated[str, _target("A robot that was dealt a part: r03.")],
    run: Run = None,
    /,
    *,
    given: Given,
) -> int:
    """Send a robot of a live run another word for a part that it was dealt."""
    return _inject(f"contradict {_one(target)}", run, load_place(given))


@amnesia_app.default
@takes(PlaceSettings)
def amnesia(
    target: Annotated[str, _target("A robot: r03.")],
    run: Run = None,
    /,
    *,
    given: Given,
) -> int:
    """Kill a robot of a live run, and delete its journal."""
    return _inject(f"amnesia {_one(target)}", run, load_place(given))


def _one(target: str) -> str:
    """TARGET, without further faults or times. Raises UsageError."""
    if ";" in target or len(target.split()) > 1:
        raise UsageError(f"TARGET: {target!r} is more than one process; several, or with a time: robots faults set")
    return target


def _inject(text: str, run: str | None, place: PlaceSettings) -> int:
    """Request it, and wait for the outcome. Before go it is only accepted: it is done when the run begins. Raises
    UsageError when the run refuses it, EnvironmentFailure when it was not done."""
    (line,) = set_lines([text])
    asked, began_s = asked_text(line), time.monotonic()
    with plan_of(place, run) as plan:
        request, outcome = inject(plan, line, lambda: report(f"accepted: {asked}; waiting until it is done"))
    answer = InjectionAnswer(plan.run, request, asked, round(time.monotonic() - began_s, 3))
    if outcome is not None:
        answer = replace(answer, victim=outcome.victim, died=outcome.died)
    print_result(answer_line(answer) if place.json_ else outcome_line(plan.run, line, outcome))
    return 0
