"""`robots verify`: judge a record again, from its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from deploy.commands.output import show
from deploy.filing import json_line, shown_folder
from telemetry.plain import verdict_lines
from telemetry.record import find_run
from telemetry.verdict.case import load
from telemetry.verdict.judge import judge

EXAMPLES: Final = """\
Examples:

  robots verify
  robots verify 7f3a --json
"""


def verify(
    run: Annotated[str, Parameter(allow_leading_hyphen=False)] = "latest",
    /,
    *,
    runs_dir: Annotated[str, Parameter(help="Where records are kept.", env_var="ROBOTS_RUNS_DIR")] = "runs",
    json_: Annotated[bool, Parameter(name="--json", help="Print the result as one JSON object.")] = False,
) -> int:
    """Judge a run again from its record. RUN is an id, a unique prefix, a folder, or `latest`."""
    folder = find_run(Path(runs_dir), run)
    result = judge(load(folder, shown_folder(folder)))
    if json_:
        show(json_line(result.json))
    else:
        show("\n".join(verdict_lines(result.json)))
    return result.exit_code
