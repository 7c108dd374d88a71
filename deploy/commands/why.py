"""`robots why`: explains a run's verdict, a robot, or how a robot came to know a part, live or from the record."""

from __future__ import annotations

import gc
import re
from typing import Annotated, Final

from cyclopts import App, Parameter

from deploy.commands.output import print_result
from deploy.commands.outputs import answer_line
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import UsageError
from deploy.observing.source import ObservedRun, observe_run
from telemetry.explanations.about_robot import why_part, why_robot
from telemetry.explanations.about_run import why_run
from telemetry.explanations.explanation import Explanation
from telemetry.explanations.run_index import RunIndex

EXAMPLES: Final = """\
Examples:

  robots why
  robots why r03
  robots why r03 --part 7
  robots why 7f3a r03 --json
"""

_ROBOT: Final = re.compile(r"r[0-9]+")

app = App(name="why", help_epilogue=EXAMPLES)


@app.default
@takes(PlaceSettings)
def why(
    run: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=False, help="Which run. [default: the newest live one, else the latest record]"),
    ] = None,
    robot: Annotated[
        str | None, Parameter(allow_leading_hyphen=False, help="Which robot. [default: the run and its verdict]")
    ] = None,
    /,
    *,
    part: Annotated[int | None, Parameter(help="Which part of the secret, by its index.")] = None,
    given: Given,
) -> int:
    """Explain a run, a robot, or what a robot knows of a part."""
    if robot is None and run is not None and _ROBOT.fullmatch(run):
        run, robot = None, run
    if robot is None and part is not None:
        raise UsageError("--part: goes with a robot, such as r03")
    place = load_place(given)
    gc.disable()  # a history is many small values, and all of them stay
    explanation = _explain(observe_run(place, run), robot, part)
    print_result(answer_line(explanation) if place.json_ else "\n".join(explanation.lines()))
    return 0


def _explain(observed: ObservedRun, robot: str | None, part: int | None) -> Explanation:
    """Raises UsageError for a robot or a part that the run does not have."""
    index = RunIndex(observed.history)
    if robot is None:
        return why_run(index, observed.verdict)
    named = next((name for name in index.robots if _number(name) == _number(robot)), None)
    if named is None:
        raise UsageError(f"run {index.run} has no robot {robot}; allowed is one of {', '.join(index.robots)}")
    if part is None:
        return why_robot(index, named)
    if part not in index.dealt:
        raise UsageError(f"--part: run {index.run} has no part {part}; allowed is 0 to {max(index.dealt, default=0)}")
    return why_part(index, named, part)


def _number(robot: str) -> int:
    return int(robot[1:]) if _ROBOT.fullmatch(robot) else -1
