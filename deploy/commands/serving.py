"""What the commands have in common that serve a run for as long as it goes on: which run, and how they stay.

None of them is here: `robots supervise`, `robots relay` and `robots worker` have files of their own.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import redis
from cyclopts import Parameter

from broker.ports import Unavailable
from broker.streams.connection import check_server, connect
from deploy.commands.output import tell
from deploy.discovery import Whereabouts, find_live, newest_on
from deploy.endings import Endings
from deploy.environment import Unable

_ASK_S: Final = 0.5  # between two looks whether a run was dealt


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Service:
    """Which run, or which server."""

    redis_url: Annotated[
        str | None,
        Parameter(help="The server. [default: that of the newest live run here]", env_var="ROBOTS_REDIS_URL"),
    ] = None
    runs_dir: Annotated[str, Parameter(help="Where records are kept.", env_var="ROBOTS_RUNS_DIR")] = "runs"

    @property
    def runs(self) -> Path:
        """The folder of the records."""
        return Path(self.runs_dir)


def serve(
    service: Service, run: str | None, is_staying: bool, endings: Endings, do: Callable[[Whereabouts], None]
) -> None:
    """`do` something for the run that is meant. On a server that is named, and with no run named, that is the next one
    that is dealt there if none is live yet; and with `is_staying`, all that follow too, one after the other.

    Raises NoSuchRun, Unfit, ServerUnfit, Unable.
    """
    if run is not None or service.redis_url is None:
        do(find_live(service.runs, run, service.redis_url))
        return
    served: dict[str, None] = {}
    with reached(service.redis_url) as client:
        while (name := _next_run(client, served, endings)) is not None:
            served[name] = None
            do(find_live(service.runs, name, service.redis_url))
            if not is_staying or endings.reason is not None:
                return


@contextmanager
def reached(url: str) -> Iterator[redis.Redis]:
    """A client of the server at `url`, which was looked at. Raises Unfit, ServerUnfit."""
    with connect(url) as client:
        check_server(client)
        yield client


def pause(endings: Endings, seconds: float) -> None:
    """Wait, but not longer than until somebody wants an end."""
    select.select([endings.ear], [], [], seconds)
    endings.drain()


def _next_run(client: redis.Redis, served: dict[str, None], endings: Endings) -> str | None:
    """A live run that was not served yet, once there is one; None when somebody wants an end before."""
    is_told = False
    while endings.reason is None:
        try:
            run = newest_on(client)
        except Unavailable as error:
            raise Unable(f"the server went away: {error}") from None
        if run is not None and run not in served:
            return run
        if not is_told:
            tell("no run is live on the server; waiting for one to be dealt")
            is_told = True
        pause(endings, _ASK_S)
    return None
