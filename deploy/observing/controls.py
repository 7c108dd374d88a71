"""The knobs of one live run, for screens: the requests that `robots faults`, `robots kill` and their like make, with
the same words for what became of them. Each request has a connection of its own, and none may raise.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from broker.errors import RunGone, Unavailable
from broker.faults.process_faults import WORKERS
from broker.streams.address import without_password
from broker.streams.connection import Server, UnsupportedServer
from deploy.attach.answers import answer_lines, begin_lines, left_lines
from deploy.attach.discovery import RunLocation
from deploy.attach.letting_go import let_go
from deploy.attach.live_plan import live_plan, remaining, still_to_come
from deploy.attach.outcomes import inject, is_injection, outcome_line
from deploy.attach.plan_requests import clear_request, set_lines, set_request
from deploy.attach.stopping import stop_run, stopped_line
from deploy.errors import EnvironmentFailure, UsageError
from telemetry.record.folder import NoSuchRun
from telemetry.watch.stage import Reply

_FOR_PEOPLE: Final = (UsageError, NoSuchRun, EnvironmentFailure, UnsupportedServer, OSError)
"""The errors whose message is one line."""

_HARMLESS: Final = re.compile(r"[\w .,:;|>@+~/#-]*", re.ASCII)
"""What a shell leaves as it is within double quotes."""

_RECORDS: Final = "runs"  # where commands search without --runs-dir
_OF_FAULTS: Final = ("set", "clear", "heal")


class LiveControls:
    """The knobs of the run at `where`. Any thread may use them."""

    workers = WORKERS

    def __init__(self, where: RunLocation) -> None:
        self._where = where

    def request(self, fault: str) -> Reply:
        """See telemetry/watch/stage.py, as for the next ones."""
        return _answered(lambda: self._set(fault))

    def clear(self, what: str) -> Reply:
        return _answered(lambda: self._clear(what))

    def heal(self) -> Reply:
        return _answered(self._heal)

    def go(self) -> Reply:
        return _answered(self._go)

    def stop(self) -> Reply:
        return _answered(self._stop)

    def command_of(self, verb: str, argument: str = "") -> str:
        words = ["robots", *(["faults"] if verb in _OF_FAULTS else []), verb]
        if argument:
            words.append(_quoted(argument, is_text=verb in _OF_FAULTS))
        return " ".join([*words, self._where.run, *_options(self._where)])

    def _set(self, fault: str) -> list[str]:
        lines = set_lines([fault])
        with live_plan(self._where) as plan:
            if len(lines) == 1 and is_injection(lines[0]):
                _, outcome = inject(plan, lines[0], lambda: None)
                return [outcome_line(plan.run, lines[0], outcome)]
            return [*answer_lines(plan.request(set_request(lines, plan))), *begin_lines(lines)]

    def _clear(self, what: str) -> list[str]:
        with live_plan(self._where) as plan:
            return list(answer_lines(plan.request(clear_request(what, plan.in_force, remaining(plan)))))

    def _heal(self) -> list[str]:
        with live_plan(self._where) as plan:
            answer = plan.request("heal")
            return [*answer_lines(answer), *left_lines(plan.run, still_to_come(plan))]

    def _go(self) -> list[str]:
        with self._reached() as server:
            return [let_go(server.data, self._where.run).text]

    def _stop(self) -> list[str]:
        run = self._where.run
        with self._reached() as server:
            return [stopped_line(run, stop_run(server, run))]

    @contextmanager
    def _reached(self) -> Iterator[Server]:
        """The run's server. Raises NoSuchRun, UnsupportedServer, EnvironmentFailure."""
        run = self._where.run
        try:
            with Server.at(self._where.address) as server:
                server.check()
                yield server
        except RunGone:
            raise NoSuchRun(f"run {run} is gone from its server") from None
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {run} went away: {error}") from None


def _answered(do: Callable[[], Iterable[str]]) -> Reply:
    """What was done, or why it was not."""
    try:
        return Reply(list(do()), True)
    except _FOR_PEOPLE as error:
        return Reply([str(error)], False)


def _quoted(argument: str, *, is_text: bool) -> str:
    """An argument as a person types it: the text of a fault in double quotes, if a shell lets it be."""
    if is_text and not argument.isalnum() and _HARMLESS.fullmatch(argument):
        return f'"{argument}"'
    return shlex.quote(argument)


def _options(where: RunLocation) -> Sequence[str]:
    """What a command needs to find the run. A password stays in its file: no screen may show it."""
    if where.folder is not None and where.parent is not None:
        records = where.folder.parent
        return [] if records == Path(_RECORDS).resolve() else ["--runs-dir", shlex.quote(str(records))]
    urls = (where.address.control, where.address.data)
    names = ("--redis-url",) if urls[0] == urls[1] else ("--control-url", "--data-url")
    shown = [without_password(url) for url in urls]
    options = [word for name, url in zip(names, shown, strict=False) for word in (name, shlex.quote(url))]
    return [*options, *["--redis-password-file FILE"] * (shown != [*urls])]
