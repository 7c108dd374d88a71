"""`robots anomalies`: what was unusual in a run, by the same rules that its leader applies while it goes on.

A command of its own, because it applies them anew: with other thresholds, and also where no leader lived to report.
"""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.envelope import shard_of
from deploy.commands.help import table
from deploy.commands.output import in_columns, print_result
from deploy.commands.outputs import answer_line
from deploy.commands.trace_outputs import AnomalyList
from deploy.config.flags import Given, takes
from deploy.config.settings import AnomalySettings, load_model
from deploy.observing.source import history_of_run
from telemetry.anomalies.catalogue import RULES
from telemetry.anomalies.detector import AnomalyDetector
from telemetry.anomalies.replay import FoundAnomaly, anomalies_in
from telemetry.anomalies.thresholds import Thresholds
from telemetry.console import printable
from telemetry.record.history import History

EXAMPLES: Final = """\
Examples:

  robots anomalies
  robots anomalies 7f3a --json
  robots anomalies latest --anomalies "stuck_ticks 10, unheard 20"
"""

_HEAD: Final = ("after go", "lasted", "rule", "about", "detail")

_RULES: Final = table("Rules", RULES.items())

app = App(name="anomalies", help_epilogue=f"{EXAMPLES}\n{_RULES}")


@app.default
@takes(AnomalySettings)
def anomalies(
    run: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=False, help="Which run. [default: the newest]"),
    ] = None,
    /,
    *,
    given: Given,
) -> int:
    """Show what was unusual in a run, and when."""
    settings = load_model(AnomalySettings, given)
    history = history_of_run(settings, run)
    is_set = "anomalies" in settings.model_fields_set
    found = _find(history, settings.anomalies if is_set else history.settings.anomalies)
    if settings.json_:
        print_result(answer_line(AnomalyList(history.settings.run, found)))
    elif found:
        go_us = history.order_us("go") or min(stamped.wall_us for stamped in history.events)  # from where plans count
        print_result("\n".join(in_columns(_HEAD, [_cells(anomaly, go_us) for anomaly in found])))
    else:
        print_result(f"run {history.settings.run}: nothing unusual")
    return 0


def _find(history: History, thresholds: Thresholds) -> list[FoundAnomaly]:
    shards = history.settings.shards
    detector = AnomalyDetector(history.settings.tick_us, lambda robot: shard_of(robot, shards), thresholds)
    return anomalies_in(history.events, detector)


def _cells(anomaly: FoundAnomaly, go_us: int) -> tuple[str, ...]:
    lasted = "to the end" if anomaly.ended_us is None else f"{(anomaly.ended_us - anomaly.began_us) / 1e6:.1f} s"
    began = f"{(anomaly.began_us - go_us) / 1e6:.1f} s"
    return began, lasted, anomaly.rule, printable(anomaly.about), printable(anomaly.detail)
