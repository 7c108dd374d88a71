"""`robots runs --prune`: removes what runs have left behind, on a named server and on this host, and tells what.

What may be removed is decided in deploy/lifecycle/pruning.py, deploy/lifecycle/record_leftovers.py and
deploy/processes/leftovers.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from broker.errors import Unavailable
from broker.faults.syntax import parse_duration
from broker.streams.retry import lacking_right
from deploy.commands.output import print_result, report
from deploy.commands.outputs import PrunedLeftovers, PrunedRun, answer_line
from deploy.commands.service import reached
from deploy.config.settings import PlaceSettings
from deploy.errors import EnvironmentFailure, UsageError
from deploy.lifecycle.pruning import Pruned, prune_server
from deploy.lifecycle.record_leftovers import prune_records
from deploy.processes.leftovers import dead_folders, remove_folder

_NOTHING: Final = Pruned({}, (), ())


def prune(place: PlaceSettings, older_than: str) -> int:
    """Remove it all, and print what was removed. Raises UsageError, UnsupportedServer, and EnvironmentFailure when the
    server could not be pruned: what this host has left is removed before."""
    try:
        older_than_us = parse_duration(older_than)
    except ValueError as error:
        raise UsageError(f"--older-than: {error}") from None
    on_server, failure = _NOTHING, None
    try:
        on_server = _on_server(place, older_than_us)
    except EnvironmentFailure as error:
        failure = error
    records = [str(path) for path in prune_records(place.runs_dir)]
    folders = [str(path) for path in dead_folders() if remove_folder(path)]
    removed = PrunedLeftovers(
        runs=[PrunedRun(run, reason) for run, reason in on_server.runs.items()],
        workers=list(on_server.workers),
        kept=list(on_server.kept),
        records=records,
        folders=folders,
    )
    if place.json_:
        print_result(answer_line(removed))
    elif lines := list(_lines(removed)):
        print_result("\n".join(lines))
    elif failure is None:
        print_result("nothing is left behind")
    if failure is not None:
        raise failure
    return 0


def _on_server(place: PlaceSettings, older_than_us: int) -> Pruned:
    if place.address is None:
        report("no server is named, with --redis-url or ROBOTS_REDIS_URL: only this host is searched")
        return _NOTHING
    with reached(place.address) as server:
        try:
            return prune_server(server, place.runs_dir, older_than_us)
        except Unavailable as error:
            right = lacking_right(error)
            if right is not None:
                raise EnvironmentFailure(f"runs --prune needs a right that this user lacks: {right}") from None
            raise EnvironmentFailure(f"the server went away: {error}") from None


def _lines(removed: PrunedLeftovers) -> Iterator[str]:
    for run in removed.runs:
        yield f"removed run {run.run} from the server: {run.reason}"
    for worker in removed.workers:
        yield f"removed the name of a dead RQ worker: {worker}"
    for path in (*removed.records, *removed.folders):
        yield f"removed {path}"
