"""What the commands that judge a run do with its traces: a collector that the environment names gets
them, while the run lives if it can be; else they are written into its record after the verdict.

What brings OpenTelemetry along is loaded by its name when it is needed: no run pays for it before its verdict, unless a
collector is named. Whatever goes wrong here is told in one line, and changes neither the verdict nor the exit code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from deploy.errors import UsageError
from deploy.lifecycle.recording import shown_folder
from telemetry.otlp.delivered import FOLDER, saved_delivered
from telemetry.otlp.endpoint import BadEndpoint, Endpoint, are_traces_off, endpoint_of
from telemetry.otlp.usable import demand_usable
from telemetry.plain.verdict import labelled
from telemetry.record.folder import NoSuchRun
from telemetry.record.reader import LARGEST_EVENTS
from telemetry.record.settings import RunSettings

RUN_TRACE_S: Final = 2.0  # for the run's own trace to be delivered
_FOLLOWER: Final = "deploy.observing.follower"
_OUTGOING: Final = "deploy.observing.outgoing"

Report = Callable[[str], None]
Body = Callable[[], int]


def named_endpoint() -> Endpoint | None:
    """The collector that the environment names, which can be used as far as this host is concerned. Raises
    UsageError."""
    try:
        endpoint = endpoint_of(os.environ)
        if endpoint is not None:
            demand_usable(endpoint)
        return endpoint
    except BadEndpoint as error:
        raise UsageError(str(error)) from None


def follower_of(endpoint: Endpoint, url: str, run: str, record: Path) -> Body:
    """The body of a process that follows a run."""
    return partial(_load_and_call, _FOLLOWER, "follow_forked", url, run, endpoint, record)


def let_traces_leave(
    record: Path, settings: RunSettings, endpoint: Endpoint | None, report: Report, is_followed: bool = False
) -> Iterator[str]:
    """After the verdict: have the traces of a recorded run leave, and tell what a person has to know of that.
    `is_followed`: a follower had those of its exchanges delivered already."""
    try:
        yield from _let_leave(record, settings, endpoint, report, is_followed)
    except (OSError, NoSuchRun, BadEndpoint) as error:
        report(f"traces: {error}")
    except Exception as error:  # even an error of ours changes no verdict that stands already
        report(f"traces: {type(error).__name__}: {error}; try: robots traces {settings.run}")


def trace_places(run: str, endpoint: Endpoint | None, jaeger_url: str | None) -> Iterator[str]:
    """Where a person finds a run's traces."""
    yield labelled("traces", f"robots traces {run}")
    if endpoint is not None:
        yield from (f"  {line}" for line in jaeger_lines(run, endpoint, jaeger_url))


def jaeger_lines(run: str, endpoint: Endpoint, jaeger_url: str | None) -> Iterator[str]:
    """The link to a run in Jaeger, if it is known where Jaeger's pages are."""
    ui = jaeger_url or endpoint.jaeger_ui
    if ui:
        yield f"jaeger: {search_url(ui, run)}"


def search_url(ui: str, run: str) -> str:
    """Where Jaeger's UI finds the run's own trace, if its collector is that Jaeger."""
    tags = quote(f'{{"gossip.run":"{run}"}}', safe="")
    return f"{ui.rstrip('/')}/search?service=lab&operation=run&tags={tags}&lookback=2d&limit=20"


def _let_leave(
    record: Path, settings: RunSettings, endpoint: Endpoint | None, report: Report, is_followed: bool
) -> Iterator[str]:
    if are_traces_off(os.environ):
        return
    is_long = (record / "events.jsonl").stat().st_size > LARGEST_EVENTS
    if is_long and (endpoint is None or not is_followed):
        command = "export" if endpoint is None else "push"
        yield f"  traces: this is a long run; for its traces: robots traces {command} {settings.run}"
    elif endpoint is None:
        exported = _load_and_call(_OUTGOING, "write_recorded", record, record / FOLDER)
        if not exported.is_all:
            where = shown_folder(record / FOLDER)
            yield f"  traces: {exported.share} in {where} (all: robots traces export {settings.run} --all)"
    elif not is_followed:
        exported = _load_and_call(_OUTGOING, "push_recorded", record, endpoint, report)
        yield f"  {exported.delivered.line(endpoint.shown)}"
        if not exported.is_all:
            yield f"  traces: {exported.share} (all: robots traces push {settings.run} --all)"
    else:
        yield f"  {_followed(record, settings.run, endpoint)}"


def _followed(record: Path, run: str, endpoint: Endpoint) -> str:
    """What the follower delivered, and the run's own trace, which waits for the verdict."""
    delivered = saved_delivered(record)
    if delivered is None:
        return f"traces: their follower ended before the run; deliver them with: robots traces push {run}"
    if delivered.accepted:
        delivered += _load_and_call(_OUTGOING, "push_run", record, endpoint, _in_silence, RUN_TRACE_S)
    return delivered.line(endpoint.shown)


def _in_silence(_line: str) -> None:
    """Told by the numbers."""


def _load_and_call(module: str, function: str, *arguments: object) -> Any:
    return getattr(import_module(module), function)(*arguments)
