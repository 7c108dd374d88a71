"""What the commands that judge a run print of its traces, after the verdict: `run`, `simulate`, `verify --wait`."""

from __future__ import annotations

from pathlib import Path

from deploy.commands.output import print_result, report
from deploy.lifecycle.tracing import let_traces_leave, trace_places
from telemetry.otlp.endpoint import Endpoint
from telemetry.record.settings import RunSettings


def leave_and_print_traces(
    record: Path,
    settings: RunSettings,
    endpoint: Endpoint | None,
    jaeger_url: str | None,
    *,
    is_json: bool,
    is_followed: bool = False,
) -> None:
    """Have the traces of a recorded run leave, and print where they are. With `is_json` standard output is the result's
    alone: notes go to standard error. `is_followed`: a follower had those of its exchanges delivered already."""
    for line in let_traces_leave(record, settings, endpoint, report, is_followed):
        (report if is_json else print_result)(line)
    if not is_json:
        print_result("\n".join(trace_places(settings.run, endpoint, jaeger_url)))
