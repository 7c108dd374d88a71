"""`robots verify`: judge a record again, from its folder alone; or wait for a run to end, and record and judge it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import redis
from cyclopts import Parameter

from broker.errors import RunGone, Unavailable
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from deploy.attach.context import read_metadata, read_run_info
from deploy.attach.discovery import RunLocation, find_live, is_alive, newest_unrecorded
from deploy.attach.events import RunEvents
from deploy.commands.output import show, tell
from deploy.commands.service import Service, await_live, pause, reached
from deploy.config.host import demand_records
from deploy.config.settings import INTERRUPTED
from deploy.errors import EnvironmentFailure, NoMetadata, UsageError
from deploy.lifecycle.closing import await_end, close, forget_run, is_recorded, record_run, succeeding
from deploy.lifecycle.recording import json_line, shown_folder
from deploy.processes.signals import ShutdownSignals
from deploy.supervisor.supervisor import LOST
from telemetry.clock import SystemClock
from telemetry.console import verdict_lines
from telemetry.handlers.progress import Progress
from telemetry.pipeline import Pipeline
from telemetry.record.folder import NoSuchRun, find_run
from telemetry.verdict.case import load
from telemetry.verdict.judge import Result, judge

EXAMPLES: Final = """\
Examples:

  robots verify
  robots verify 7f3a --json
  robots verify --wait --redis-url redis://lab.example:6379
"""

_PARENT_LOOK_S: Final = 0.2
_SERVICE: Final = Service()


def verify(
    run: Annotated[str | None, Parameter(allow_leading_hyphen=False)] = None,
    /,
    *,
    wait: Annotated[bool, Parameter(help="Wait for a run that goes on, and make its record.")] = False,
    forget: Annotated[bool, Parameter(help="With --wait: then remove the run from its server.")] = False,
    json_: Annotated[bool, Parameter(name="--json", help="Print the result as one JSON object.")] = False,
    service: Service = _SERVICE,
) -> int:
    """Judge a run again from its record, or wait for its end and judge it then.

    RUN is an id, a unique prefix, a folder, or `latest` (the default). With --wait a run is seen to its end first, on
    any host that reaches its server, and one that was dealt with `robots deal` is recorded here then; by default the
    newest that is live, or that has just ended."""
    if forget and not wait:
        raise UsageError("--forget: goes with --wait; `robots stop RUN --forget` removes a run without a record")
    if not wait or _is_over(service, run):
        if forget:
            _forget(service, str(run))
        return _judge(service, run or "latest", json_)
    with ShutdownSignals() as shutdown:
        where = await_live(service, run, shutdown, newest=lambda client: newest_unrecorded(client, service.runs))
        if where is None:
            return INTERRUPTED
        if where.parent is not None:
            return _await_parent(service, where, where.parent, shutdown, json_)
        return _record(service, where, shutdown, forget, json_)


def _is_over(service: Service, run: str | None) -> bool:
    """Whether the run that is named was recorded here, and does not go on."""
    if run is None:
        return False
    try:
        where = find_live(service.runs, run, service.redis_url)
    except NoSuchRun:
        find_run(service.runs, run)
        return True
    return where.folder is not None and (where.folder / "verdict.json").exists()


def _forget(service: Service, run: str) -> None:
    """Remove a run that is recorded here already, if its server still holds it. Raises Unfit, UnsupportedServer,
    Unable.
    """
    with suppress(NoSuchRun):
        where = find_live(service.runs, run, service.redis_url)
        with reached(where.url) as client:
            try:
                forget_run(client, where.run)
            except Unavailable as error:
                raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None
            except RunGone:
                pass


def _judge(service: Service, run: str, is_json: bool) -> int:
    folder = find_run(service.runs, run)
    if not (folder / "verdict.json").exists():
        told = "goes on: wait for its end with --wait" if _goes_on(folder) else "was never completed"
        tell(f"the record of run {folder.name} {told}")
    return _show(judge(load(folder, shown_folder(folder))), is_json)


def _goes_on(folder: Path) -> bool:
    try:
        find_live(folder.parent, folder.name, None)
    except (NoSuchRun, EnvironmentFailure):
        return False
    return True


def _await_parent(service: Service, where: RunLocation, parent: int, shutdown: ShutdownSignals, is_json: bool) -> int:
    """Its own parent records the run; it judges it last of all, or is killed before that."""
    tell(f"run {where.run}: waiting for its end")
    while not (service.runs / where.run / "verdict.json").exists() and is_alive(parent):
        pause(shutdown, _PARENT_LOOK_S)
        if shutdown.reason is not None:
            return INTERRUPTED
    return _judge(service, where.run, is_json)


def _record(
    service: Service, where: RunLocation, shutdown: ShutdownSignals, is_to_be_forgotten: bool, is_json: bool
) -> int:
    """See the run to its end, and record it. Raises NoSuchRun, Unable, UnsupportedServer."""
    run = where.run
    _demand_place(service.runs, run)
    with reached(where.url) as client:
        try:
            result = _see_to_its_end(client, where, service.runs, shutdown, is_to_be_forgotten)
        except NoMetadata as error:
            raise NoSuchRun(str(error)) from None
        except RunGone:
            if not is_recorded(service.runs, run):
                raise NoSuchRun(f"run {run} is gone") from None
            return _judge(service, run, is_json)  # another has recorded it here, and removed it
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {run} went away: {error}") from None
    if result is None:
        tell(f"run {run}: left; it goes on, or is still to be recorded")
        return INTERRUPTED
    return _show(result, is_json)


def _demand_place(runs: Path, run: str) -> None:
    """The run can be recorded in `runs`, or is by the time it has ended. Raises Unfit."""
    demand_records(runs)
    folder = runs / run
    if folder.is_dir() and any(folder.iterdir()) and not is_recorded(runs, run):
        raise UsageError(
            f"--runs-dir: {folder} was begun by somebody else and never judged; move it, or record elsewhere"
        )


def _see_to_its_end(
    client: redis.Redis, where: RunLocation, runs: Path, shutdown: ShutdownSignals, is_to_be_forgotten: bool
) -> Result | None:
    """None when a person did not wait for it. Raises RunGone, NoMetadata, Unavailable."""
    run = where.run

    def is_wanted() -> bool:
        return shutdown.reason is None

    metadata = read_metadata(StreamEvidenceReader(client, run), run)
    tell(f"run {run}: waiting for its end")
    ended = _end_of(client, run, shutdown)
    if ended is None:
        return None
    if ended == LOST:
        return record_run(client, run, runs, metadata, ended)
    with succeeding(client, run, is_wanted):
        if is_wanted():
            close(client, where.url, run, read_run_info(client, run).terms.seed, is_wanted, tell)
        if not is_wanted():
            return None
        result = record_run(client, run, runs, metadata, ended)
        if is_to_be_forgotten:
            forget_run(client, run)
        return result


def _end_of(client: redis.Redis, run: str, shutdown: ShutdownSignals) -> str | None:
    """How the run ended; None when a person did not wait for it."""
    progress, clock = Progress(tell), SystemClock()
    events = RunEvents(client, run, "", Pipeline(progress))

    def look(away_s: float) -> bool:
        progress.observe(events.view, clock.wall_us(), away_s)
        pause(shutdown, 0)
        return shutdown.reason is None

    try:
        return await_end(events, StreamRunControl(client, run), look)
    except RunGone:
        tell(f"run {run}: the server came back without it")
        return LOST


def _show(result: Result, is_json: bool) -> int:
    show(json_line(result.json) if is_json else "\n".join(verdict_lines(result.json)))
    return result.exit_code
