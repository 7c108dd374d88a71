"""`robots verify`: judge a record again, from its folder alone; or wait for a run to end, and record and judge it."""

from __future__ import annotations

import sys
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.errors import RunGone, Unavailable
from broker.streams.connection import DataClient, Server
from broker.streams.outage import demand_answer
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from deploy.attach.context import read_metadata, read_run_info
from deploy.attach.discovery import RunLocation, find_live, is_alive, newest_unrecorded
from deploy.attach.events import RunEvents
from deploy.commands.output import json_line, print_result, report, width_of
from deploy.commands.service import await_live, away_limit_s, pause, reached
from deploy.commands.trace_lines import leave_and_print_traces
from deploy.config.flags import Given, takes
from deploy.config.host import demand_records
from deploy.config.settings import VerifySettings, load_model
from deploy.errors import INTERRUPTED, EnvironmentFailure, NoMetadata, UsageError
from deploy.lifecycle.closing import await_end, close, forget_run, is_recorded, record_run, succeeding
from deploy.lifecycle.recording import shown_folder
from deploy.lifecycle.tracing import named_endpoint
from deploy.observing.diagnosis import stall_watch
from deploy.observing.results import result_lines
from deploy.processes.liveness import keep_heartbeat
from deploy.processes.signals import ShutdownSignals
from robots.run.stop_rule import LOST
from telemetry.diagnosis.stalls import StallWatch
from telemetry.otlp.endpoint import Endpoint
from telemetry.pipeline import Pipeline
from telemetry.plain.progress import Progress
from telemetry.record.folder import NoSuchRun, find_run
from telemetry.record.reader import RecordReader
from telemetry.verdict.case import load
from telemetry.verdict.judge import Result, judge

EXAMPLES: Final = """\
Examples:

  robots verify
  robots verify 7f3a --json
  robots verify --wait --redis-url redis://lab.example:6379
"""

_PARENT_POLL_S: Final = 0.2


app = App(name="verify", help_epilogue=EXAMPLES)


@app.default
@takes(VerifySettings)
def verify(
    run: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=False, help="Which run. [default: latest]"),
    ] = None,
    /,
    *,
    wait: Annotated[bool, Parameter(help="Wait for a run that goes on, and make its record.")] = False,
    forget: Annotated[bool, Parameter(help="With --wait: then remove the run from its server.")] = False,
    given: Given,
) -> int:
    """Judge a recorded run, or wait for the end of a live one."""
    place = load_model(VerifySettings, given)
    keep_heartbeat(place.heartbeats, "verify")
    if forget and not wait:
        raise UsageError("--forget: goes with --wait; `robots stop RUN --forget` removes a run without a record")
    if not wait or _is_over(place, run):
        if forget:
            _forget(place, str(run))
        return _judge(place, run or "latest")
    endpoint = named_endpoint()
    with ShutdownSignals() as shutdown:
        newest = partial(newest_unrecorded, runs=place.runs_dir)
        where = await_live(place, run, shutdown, newest, "no run on the server is live, or is to be recorded here")
        if where is None:
            return INTERRUPTED
        if where.parent is not None:
            return _await_parent(place, where, where.parent, shutdown)
        return _record(place, where, shutdown, forget, endpoint)


def _is_over(place: VerifySettings, run: str | None) -> bool:
    """Whether the run that is named was recorded here, and does not go on."""
    if run is None:
        return False
    try:
        where = find_live(place.runs_dir, run, place.address)
    except NoSuchRun:
        find_run(place.runs_dir, run)
        return True
    return where.folder is not None and (where.folder / "verdict.json").exists()


def _forget(place: VerifySettings, run: str) -> None:
    """Remove a run that is recorded here already, if its server still holds it. Raises UsageError, UnsupportedServer,
    EnvironmentFailure.
    """
    with suppress(NoSuchRun):
        where = find_live(place.runs_dir, run, place.address)
        with reached(where.address) as server:
            try:
                forget_run(server, where.run)
            except Unavailable as error:
                raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None
            except RunGone:
                pass


def _judge(place: VerifySettings, run: str) -> int:
    folder = find_run(place.runs_dir, run)
    if not (folder / "verdict.json").exists():
        state = "goes on: wait for its end with --wait" if _goes_on(folder) else "was never completed"
        report(f"the record of run {folder.name} {state}")
    return _show(judge(load(folder, shown_folder(folder))), folder, place)


def _goes_on(folder: Path) -> bool:
    try:
        find_live(folder.parent, folder.name, None)
    except (NoSuchRun, EnvironmentFailure):
        return False
    return True


def _await_parent(place: VerifySettings, where: RunLocation, parent: int, shutdown: ShutdownSignals) -> int:
    """The run's own parent records it and judges it last of all, unless it is killed before."""
    report(f"run {where.run}: waiting for its end")
    while not (place.runs_dir / where.run / "verdict.json").exists() and is_alive(parent):
        pause(shutdown, _PARENT_POLL_S)
        if shutdown.reason is not None:
            return INTERRUPTED
    return _judge(place, where.run)


def _record(
    place: VerifySettings,
    where: RunLocation,
    shutdown: ShutdownSignals,
    is_to_be_forgotten: bool,
    endpoint: Endpoint | None,
) -> int:
    """See the run to its end, record it, and have its traces leave. Raises NoSuchRun, EnvironmentFailure,
    UnsupportedServer."""
    run = where.run
    _demand_place(place.runs_dir, run)
    with reached(where.address) as server:
        try:
            result = _see_to_its_end(server, where, place.runs_dir, shutdown, is_to_be_forgotten)
        except NoMetadata as error:
            raise NoSuchRun(str(error)) from None
        except RunGone:
            if not is_recorded(place.runs_dir, run):
                raise NoSuchRun(f"run {run} is gone") from None
            return _judge(place, run)  # another command has recorded it here, and removed it
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {run} went away: {error}") from None
    if result is None:
        report(f"run {run}: left; it goes on, or is still to be recorded")
        return INTERRUPTED
    exit_code = _show(result, place.runs_dir / run, place)
    folder = place.runs_dir / run
    leave_and_print_traces(folder, RecordReader(folder).settings(), endpoint, None, is_json=place.json_)
    return exit_code


def _demand_place(runs: Path, run: str) -> None:
    """The run can be recorded in `runs`, or is by the time it has ended. Raises UsageError."""
    demand_records(runs)
    folder = runs / run
    if folder.is_dir() and any(folder.iterdir()) and not is_recorded(runs, run):
        raise UsageError(
            f"--runs-dir: {folder} holds a record that was begun and never judged; move it, or record elsewhere"
        )


def _see_to_its_end(
    server: Server, where: RunLocation, runs: Path, shutdown: ShutdownSignals, is_to_be_forgotten: bool
) -> Result | None:
    """None when the command was interrupted before. Raises RunGone, NoMetadata, Unavailable."""
    run = where.run

    def is_wanted() -> bool:
        return shutdown.reason is None

    client = server.data
    metadata = read_metadata(StreamEvidenceReader(client, run), run)
    report(f"run {run}: waiting for its end")
    try:
        ended = _end_of(client, run, stall_watch(metadata[1].get("indices"), metadata[0].tick_us), shutdown)
    except RunGone:
        report(f"run {run}: the server came back without it")
        return record_run(client, run, runs, metadata, LOST)
    if ended is None:
        return None
    with succeeding(client, run, is_wanted):
        if is_wanted():
            close(server, where.address, run, read_run_info(client, run).new_core, is_wanted, report)
        if not is_wanted():
            return None
        result = record_run(client, run, runs, metadata, ended)
        if is_to_be_forgotten:
            forget_run(server, run)
        return result


def _end_of(client: DataClient, run: str, stalls: StallWatch, shutdown: ShutdownSignals) -> str | None:
    """How the run ended; None when the command was interrupted before. Raises RunGone, ServerGone."""
    with closing(Progress(report, stalls)) as progress:
        events = RunEvents(client, run, "", Pipeline(progress))

        def observe(away_s: float) -> bool:
            progress.observe(events.view, events.clock.wall_us(), away_s)
            demand_answer(away_s, away_limit_s())
            pause(shutdown, 0)
            return shutdown.reason is None

        return await_end(events, StreamRunControl(client, run), observe)


def _show(result: Result, folder: Path, place: VerifySettings) -> int:
    if place.json_:
        print_result(json_line(result.json))
    else:
        lines = result_lines(result.json, folder, is_verbose=place.verbose, width=width_of(sys.stdout))
        print_result("\n".join(lines))
    return result.exit_code
