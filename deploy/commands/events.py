"""`robots events`: the log of a run's events, live or recorded. It only reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import App, Parameter

from broker.errors import Unavailable
from broker.streams.connection import check_server, connect
from deploy.attach.discovery import RunLocation
from deploy.commands.output import print_result, report
from deploy.commands.recorded_events import damage_lines, open_events
from deploy.commands.service import pause
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import INTERRUPTED, EnvironmentFailure, UsageError
from deploy.observing.event_tail import LiveEvents
from deploy.observing.source import locate_run
from deploy.processes.signals import ShutdownSignals
from telemetry.events import Stamped
from telemetry.handlers.external import UnknownHandler, UserHandlers
from telemetry.phrases import counted
from telemetry.pipeline import Next
from telemetry.tail.filter import FilterSyntaxError, Wanted, filter_of
from telemetry.tail.line import missed_line, tail_line

EXAMPLES: Final = """\
Examples:

  robots events
  robots events 7b08e1 -n 20
  robots events --follow --filter "r03 parts.*"
  robots events --filter worker.crashed --filter "*=r03 !r03"
  robots events --filter "exchange.ended outcome=timeout took_us>200000"
  robots events latest --json

An event is shown when all words of a filter match; of several filters, one:

  r03  r0*  relay:*  r03/2      its source (and life)
  parts.merged  worker.*        its name
  peer=r05  indices=7  *=r03    a field; * stands for any text
  took_us>50000  late<2         a number
  !r03                          the word must not match
"""

_CHUNK: Final = 500  # lines in one write
_encode = msgspec.json.Encoder().encode

app = App(name="events", help_epilogue=EXAMPLES)

RunOf = Annotated[
    str | None, Parameter(allow_leading_hyphen=False, help="Which run. [default: the newest live one, or latest]")
]
Last = Annotated[
    int | None, Parameter(name=("--last", "-n"), metavar="N", help="Only so many of those that are there already.")
]
Follow = Annotated[bool, Parameter(name=("--follow", "-f"), help="Then show what comes, until the run is over.")]
Filters = Annotated[
    tuple[str, ...],
    Parameter(name="--filter", metavar="WORDS", help="Which events; may be repeated.", show_default=False),
]
Handlers = Annotated[
    tuple[str, ...],
    Parameter(name="--handler", metavar="MODULE:CLASS", help="Your own handler; may be repeated.", show_default=False),
]


@app.default
@takes(PlaceSettings)
def events(
    run: RunOf = None,
    /,
    *,
    follow: Follow = False,
    last: Last = None,
    filter_: Filters = (),
    handler: Handlers = (),
    given: Given,
) -> int:
    """Show the events of a run."""
    place = load_place(given)
    if last is not None and last < 0:
        raise UsageError(f"-n: {last} is outside of what is allowed: 0 and more")
    try:
        wanted = filter_of(filter_)
    except FilterSyntaxError as error:
        raise UsageError(f"--filter: {error}") from None
    where = locate_run(place, run)
    screen = _Screen(wanted, place.json_)
    with ShutdownSignals() as shutdown, _handled(handler, screen) as sink:
        if isinstance(where, Path):
            _show_record(where, screen, sink, last)
        else:
            _show_live(where, screen, sink, last, follow, shutdown)
        return INTERRUPTED if shutdown.reason is not None else 0


def _show_record(folder: Path, screen: _Screen, sink: Next, last: int | None) -> None:
    recorded = open_events(folder)
    screen.go_us = recorded.go_us
    try:
        screen.show(recorded.past(), sink, last)
        damage = list(damage_lines(folder, recorded))
    except OSError as error:
        raise EnvironmentFailure(f"events.jsonl: {error.strerror or error}") from None
    screen.report_missed(recorded.missed)
    for line in damage:
        report(f"robots: {line}")
    screen.report_unmatched()


def _show_live(
    where: RunLocation, screen: _Screen, sink: Next, last: int | None, is_following: bool, shutdown: ShutdownSignals
) -> None:
    def go_on(seconds: float) -> bool:
        pause(shutdown, seconds)
        return shutdown.reason is None and screen.is_there

    with connect(where.address.data) as client:
        check_server(client)
        live = LiveEvents(client, where)
        try:
            past = live.past()
        except Unavailable as error:
            raise EnvironmentFailure(f"the server of run {where.run} went away: {error}") from None
        screen.go_us = live.go_us
        screen.show(past, sink, last)
        screen.report_missed(live.missed)
        if not is_following:
            screen.report_unmatched()
        for batch in live.coming(go_on) if is_following else ():
            screen.go_us = live.go_us
            screen.show(batch, sink)
            screen.report_missed(live.missed)
            screen.report_away(live.is_away)


class _Screen:
    """Where the events are shown that are wanted. `is_there`: somebody still reads. `go_us`: when `go` was ordered."""

    def __init__(self, wanted: Wanted, is_json: bool) -> None:
        self.is_there = True
        self.go_us: int | None = None
        self._wanted = wanted
        self._is_json = is_json
        self._lines: list[str] = []
        self._seen = self._matched = 0
        self._missed = 0
        self._is_away = False

    def handle(self, stamped: Stamped, following: Next) -> None:
        self._lines.append(_encode(stamped).decode() if self._is_json else tail_line(stamped, self.go_us))
        following(stamped)

    def show(self, events: Iterable[Stamped], sink: Next, last: int | None = None) -> None:
        """Show those that are wanted, at most the `last` ones, as the `sink` passes them on to this screen."""
        shown: Iterator[Stamped] = filter(self._is_wanted, events)
        for stamped in shown if last is None else deque(shown, last):
            sink(stamped)
            if len(self._lines) == _CHUNK:
                self._write()
            if not self.is_there:
                return
        self._write()

    def report_unmatched(self) -> None:
        """Report that the filters match nothing, if there was something."""
        if self._seen and not self._matched:
            report(f"robots: --filter: 0 of {counted(self._seen, 'event matches', 'events match')}")

    def report_missed(self, missed: int) -> None:
        """Report how many events never came, when there are more of them."""
        if missed > self._missed:
            self._missed = missed
            report(f"robots: {missed_line(missed)}")

    def report_away(self, is_away: bool) -> None:
        """Report once that the server does not answer, and once that it answers again."""
        if is_away != self._is_away:
            self._is_away = is_away
            report(f"robots: the server {'does not answer; waiting for it' if is_away else 'answers again'}")

    def _is_wanted(self, stamped: Stamped) -> bool:
        is_wanted = self._wanted(stamped)
        self._seen += 1
        self._matched += is_wanted
        return is_wanted

    def _write(self) -> None:
        if self._lines:
            self.is_there = print_result("\n".join(self._lines))
            self._lines.clear()


@contextmanager
def _handled(names: tuple[str, ...], screen: _Screen) -> Iterator[Next]:
    """Within, the way of an event through the handlers of a user to the screen. Raises UsageError."""
    try:
        handlers = UserHandlers(names, Path.cwd(), lambda line: report(f"robots: {line}"), screen)
    except UnknownHandler as error:
        raise UsageError(f"--handler: {error}") from None
    try:
        yield handlers
    finally:
        for name, times in handlers.close().failed.items():
            if times > 1:
                report(f"robots: handler {name} failed {times} times")
