"""`robots stop`: the order to stop, for a live run."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.errors import RunGone, Unavailable
from deploy.attach.discovery import find_live
from deploy.attach.stopping import stop_run, stopped_line
from deploy.commands.output import print_result
from deploy.commands.service import Run, reached
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import EnvironmentFailure, UsageError
from deploy.lifecycle.closing import forget_run, has_living_parent, succeeding
from telemetry.record.folder import NoSuchRun

EXAMPLES: Final = """\
Examples:

  robots stop
  robots stop 7b08e1 --redis-url redis://lab.example:6379
  robots stop 7b08e1 --forget
"""


app = App(name="stop", help_epilogue=EXAMPLES)


@app.default
@takes(PlaceSettings, but=("json_",))
def stop(
    run: Run = None,
    /,
    *,
    forget: Annotated[bool, Parameter(help="Then remove the run from its server, without a record.")] = False,
    given: Given,
) -> int:
    """Stop a live run in order."""
    place = load_place(given)
    where = find_live(place.runs_dir, run, place.address)
    if forget and where.parent is not None:
        raise UsageError(f"--forget: run {where.run} has a parent here, which records it and then removes it itself")
    with reached(where.address) as server:
        try:
            if forget and has_living_parent(server.control, where.run):
                raise UsageError(f"--forget: run {where.run} has a parent on another host, which removes it itself")
            is_ours = stop_run(server, where.run)
            if forget:
                with succeeding(server.data, where.run, lambda: True):
                    forget_run(server, where.run)
        except RunGone:
            raise NoSuchRun(f"run {where.run} is gone from its server") from None
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None
    print_result(stopped_line(where.run, is_ours, is_removed=forget))
    return 0
