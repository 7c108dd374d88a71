"""`robots config`: every setting as it is in force here, and where it comes from. Nothing is started."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App, Parameter

from deploy.commands.output import print_result
from deploy.commands.outputs import EffectiveSetting, EffectiveSettings, answer_line
from deploy.config.effective import effective_settings
from deploy.config.flags import Given, takes
from deploy.config.listing import listed, toml_lines
from deploy.config.settings import LabSettings, load_place
from telemetry.console import harmless

EXAMPLES: Final = """\
Examples:

  robots config
  robots config --sources
  robots config --sources --preset storm --for 60s
  robots config --again latest --json
"""

app = App(name="config", help_epilogue=EXAMPLES)


@app.default
@takes(LabSettings)
def config(
    *, sources: Annotated[bool, Parameter(help="Also say where each setting comes from.")] = False, given: Given
) -> int:
    """Print the settings."""
    rows = listed(effective_settings(given))
    if load_place(given).json_:
        print_result(
            answer_line(EffectiveSettings([EffectiveSetting(row.name, row.value, row.source) for row in rows]))
        )
    else:
        print_result("\n".join(map(harmless, toml_lines(rows, with_sources=sources))))
    return 0
