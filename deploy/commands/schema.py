"""`robots schema`: the JSON Schema of every file of a record, and of what the commands print with `--json`."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from deploy.attach.letting_go import LetGo
from deploy.commands.output import print_result
from deploy.commands.outputs import (
    DealtRun,
    EffectiveSettings,
    Examination,
    FaultPlanAnswer,
    FaultPlanStatus,
    InjectionAnswer,
    PrunedLeftovers,
    RecordedRuns,
    RunningRobots,
    RunStory,
    ServerRuns,
)
from deploy.commands.simulate import SimulationResult
from deploy.commands.trace_outputs import (
    AnomalyList,
    ExchangeList,
    ExportedTraces,
    FollowedTraces,
    PushedTraces,
    TraceAnswer,
)
from deploy.errors import UsageError
from telemetry.events import Stamped
from telemetry.explanations.explanation import Explanation
from telemetry.metrics.plain import MetricsShown
from telemetry.schema.json_schema import Schema, schema_of, schema_of_all
from telemetry.schema.table import FILES
from telemetry.verdict.judge import Result

EXAMPLES: Final = """\
Examples:

  robots schema fates.jsonl
  robots schema verify
  robots schema
"""

OUTPUTS: Final[dict[str, tuple[Any, str]]] = {
    **dict.fromkeys(("run", "verify"), (Result, "The result of a run.")),
    "simulate": (SimulationResult, "The result of a simulated run."),
    "deal": (DealtRun, "A run that was dealt."),
    "go": (LetGo, "What came of the order to begin."),
    "ps": (RunningRobots, "The robots of a live run."),
    "runs": (RecordedRuns, "The recorded runs."),
    "runs on a server": (ServerRuns, "With --redis-url: the runs that a server holds."),
    "runs --prune": (PrunedLeftovers, "With --prune: what was removed."),
    "events": (Stamped, "An event, one a line."),
    "replay": (RunStory, "A story of a recorded run, one a line."),
    "metrics": (MetricsShown, "The metrics of a run."),
    "traces": (ExchangeList, "The exchanges of a run."),
    "traces exchange": (TraceAnswer, "With EXCHANGE: the spans of one exchange, or of the run."),
    "traces export": (ExportedTraces, "Traces that were written."),
    "traces push": (PushedTraces, "Traces that were sent to a collector."),
    "traces follow": (FollowedTraces, "Traces that were sent while the run went on."),
    "why": (Explanation, "Why something is as it is in a run."),
    "anomalies": (AnomalyList, "What was unusual in a run."),
    "config": (EffectiveSettings, "The settings in force."),
    "doctor": (Examination, "What was checked, and what was found."),
    "faults show": (FaultPlanStatus, "The fault plan of a live run."),
    **dict.fromkeys(
        ("faults set", "faults clear", "faults heal"), (FaultPlanAnswer, "How a request changed the fault plan.")
    ),
    **dict.fromkeys(
        ("kill", "pause", "resume", "restart", "crash", "contradict", "amnesia"),
        (InjectionAnswer, "What became of a process fault."),
    ),
}
"""The commands that have `--json`, each with the type of what it prints, and what that is."""

_KINDS: Final = {
    **{file.name: (file.content, file.meaning) for file in FILES if file.content is not None},
    **{command: (kind, f"robots {command} --json: {what}") for command, (kind, what) in OUTPUTS.items()},
}

app = App(name="schema", usage="robots schema [NAME]", help_epilogue=EXAMPLES)


@app.default
def schema(
    name: Annotated[str | None, Parameter(allow_leading_hyphen=False, help="What of. [default: all]")] = None, /
) -> int:
    """Print a JSON Schema."""
    print_result(msgspec.json.format(msgspec.json.encode(_schema(name)), indent=1).decode())
    return 0


def _schema(name: str | None) -> Schema:
    """Raises UsageError."""
    if name is None:
        kinds = {each: kind for each, (kind, _) in _KINDS.items()}
        return schema_of_all(kinds, {each: what for each, (_, what) in _KINDS.items()})
    if name not in _KINDS:
        raise UsageError(f"NAME: {name!r} has no schema; allowed are {', '.join(_KINDS)}")
    kind, what = _KINDS[name]
    return schema_of(kind, name, what)
