"""`robots doctor`: what would stop a run here, or go wrong, and how to mend it. Nothing is started, and nothing is
written on a server.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from cyclopts import App

from deploy.commands.output import print_result
from deploy.commands.outputs import Examination, answer_line
from deploy.config.flags import Given, takes
from deploy.config.settings import LabSettings, PlaceSettings, load_settings
from deploy.doctor.check import Check, exit_code
from deploy.doctor.examination import examine
from deploy.errors import ENVIRONMENT
from telemetry.console import harmless

EXAMPLES: Final = """\
Examples:

  robots doctor
  robots doctor -n 50
  robots doctor --redis-url redis://lab.example:6379 --json
  robots doctor --control-url redis://one.example --data-url redis://two.example

Exit codes: 0 nothing was found that stops a run; 3 something that may stop it
could not be checked; 4 something stops it.
"""

_OTHERS: Final = LabSettings.model_fields.keys() - PlaceSettings.model_fields.keys() - {"robots"}

app = App(name="doctor", help_epilogue=EXAMPLES)


@app.default
@takes(LabSettings, but=_OTHERS)
def doctor(*, given: Given) -> int:
    """Check this host and its server."""
    settings = load_settings(given)
    checks = examine(settings, os.environ)
    code = exit_code(checks)
    if settings.json_:
        is_usable = {0: True, ENVIRONMENT: False}.get(code)
        print_result(answer_line(Examination(settings.robots, is_usable, checks)))
    else:
        print_result("\n".join([*map(harmless, _lines(checks)), _summary(checks, code, settings.robots)]))
    return code


def _lines(checks: Sequence[Check]) -> list[str]:
    width = max(len(check.name) for check in checks)
    return [f"{check.state:<7}  {check.name:<{width}}  {_text(check)}" for check in checks]


def _text(check: Check) -> str:
    return f"{check.text}; mend: {check.remedy}" if check.remedy else check.text


def _summary(checks: Sequence[Check], code: int, robots: int) -> str:
    wrong = ", ".join(check.name for check in checks if check.state == "fault")
    unknown = ", ".join(check.name for check in checks if check.state == "unknown")
    if code == ENVIRONMENT:
        return f"a run of {robots} robots does not work here: {wrong}"
    if unknown:
        return f"it is not known whether a run of {robots} robots works here: {unknown}"
    return f"nothing stops a run of {robots} robots here"
