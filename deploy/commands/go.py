"""`robots go`: lets a live run begin that is held back."""

from __future__ import annotations

from typing import Final

from cyclopts import App

from broker.errors import Unavailable
from deploy.attach.discovery import find_live
from deploy.attach.letting_go import let_go
from deploy.commands.output import print_result
from deploy.commands.outputs import answer_line
from deploy.commands.service import Run, reached
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import EnvironmentFailure

EXAMPLES: Final = """\
Examples:

  robots run --hold          in one terminal, and in another:
  robots go
  robots go 7b08e1 --redis-url redis://lab.example:6379
  robots go --json
"""

app = App(name="go", help_epilogue=EXAMPLES)


@app.default
@takes(PlaceSettings)
def go(run: Run = None, /, *, given: Given) -> int:
    """Let a run begin that is held back."""
    place = load_place(given)
    where = find_live(place.runs_dir, run, place.address)
    with reached(where.address) as server:
        try:
            outcome = let_go(server.data, where.run)
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None
    print_result(answer_line(outcome) if place.json_ else outcome.text)
    return 0
