"""`robots traces`: the exchanges of a run as a list, and one of them as a waterfall. For recorded, simulated and live
runs alike: the traces are derived here, from what is known of the run.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.faults.message_faults import MESSAGE_FAULTS
from deploy.commands.output import in_columns, print_result
from deploy.commands.outputs import answer_line
from deploy.commands.service import AnyRun
from deploy.commands.trace_outputs import ExchangeList, trace_answer
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from deploy.errors import UsageError
from deploy.observing.source import ObservedRun, observe_run
from telemetry.console import printable
from telemetry.explanations.run_index import RunIndex
from telemetry.record.history import History
from telemetry.record.rows import ms_of
from telemetry.tracing.clocks import shift_us_of
from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.listing import ExchangeRow, Wanted, exchange_of, rows_of, slowest
from telemetry.tracing.run_trace import run_trace
from telemetry.tracing.spans import Trace
from telemetry.tracing.waterfall import waterfall

EXAMPLES: Final = """\
Examples:

  robots traces
  robots traces 7b08e1 --failed
  robots traces latest --robot r03 --part 7
  robots traces latest --fault loss --limit 5
  robots traces latest 0000030001000004
  robots traces latest run
"""

_HEAD: Final = ("exchange", "began", "took", "whole", "robots", "outcome", "attempts", "learnt", "faults that acted")
_RUN: Final = "run"  # in the place of an exchange: the run's own trace
_SHOWN: Final = 20
_WIDTH: Final = 140  # cells, where no screen shows the result

app = App(name="traces", usage="robots traces [OPTIONS] [RUN] [EXCHANGE]", help_epilogue=EXAMPLES)

for _name, _line in {
    "export": "Write a run's traces into files that Jaeger's upload takes: run.jsonl and exchanges.jsonl.",
    "push": "Send a run's traces to the collector of OTEL_EXPORTER_OTLP_ENDPOINT.",
    "follow": "Send the traces of a run that goes on to that collector, until the run is over.",
}.items():  # they bring OpenTelemetry with them
    app.command(f"deploy.commands.traces_out:{_name}_app", name=_name, help=_line)


@app.default
@takes(PlaceSettings)
def traces(
    run: AnyRun = None,
    exchange: Annotated[str | None, Parameter(allow_leading_hyphen=False, help="Draw this one.")] = None,
    /,
    *,
    failed: Annotated[bool, Parameter(help="Only those that did not end well.")] = False,
    robot: Annotated[str | None, Parameter(metavar="ROBOT", help="Only those that it began or answered.")] = None,
    fault: Annotated[str | None, Parameter(metavar="FAULT", help="Only those in which it acted, such as loss.")] = None,
    part: Annotated[int | None, Parameter(metavar="N", help="Only those that taught this part (to --robot).")] = None,
    limit: Annotated[int, Parameter(metavar="N", help="List at most so many.")] = _SHOWN,
    given: Given,
) -> int:
    """List the exchanges of a run, or draw one of them."""
    place = load_place(given)
    if limit < 1:
        raise UsageError(f"--limit: {limit} is outside of what is allowed: 1 and more")
    observed = observe_run(place, run)
    shift_us = shift_us_of(observed.history, observed.made_us)
    if exchange is not None:
        trace = _trace(observed, exchange, shift_us)
        answer = trace_answer(observed.history.settings.run, trace)
        print_result(
            answer_line(answer) if place.json_ else "\n".join(_drawn(observed.history, trace, exchange, shift_us))
        )
        return 0
    _check_filters(observed.history, robot, fault, part)
    rows = rows_of(traces_of(observed.history, shift_us))
    wanted = Wanted(failed, robot, fault, part)
    chosen = [row for row in rows if wanted.is_wanted(row)]
    shown = slowest(chosen, limit)
    if place.json_:
        print_result(answer_line(_list(observed, rows, len(chosen), shown)))
    else:
        print_result("\n".join(_listed(observed, rows, wanted, len(chosen), shown)))
    return 0


def _check_filters(history: History, robot: str | None, fault: str | None, part: int | None) -> None:
    """Raises UsageError for what no exchange of the run can have."""
    index = RunIndex(history)
    if robot is not None and robot not in index.robots:
        raise UsageError(f"--robot: run {index.run} has no robot {robot}; allowed is one of {', '.join(index.robots)}")
    if part is not None and part not in index.dealt:
        raise UsageError(f"--part: run {index.run} has no part {part}; allowed is 0 to {max(index.dealt, default=0)}")
    names = [kind.name for kind in MESSAGE_FAULTS]
    if fault is not None and not any(name.startswith(fault.partition(" ")[0]) for name in names):
        raise UsageError(f"--fault: {fault!r} is no fault; allowed is one of {', '.join(names)}")


# One trace


def _trace(observed: ObservedRun, exchange: str, shift_us: int) -> Trace:
    """The trace that is meant. Raises UsageError."""
    if exchange == _RUN:
        return run_trace(observed.history, observed.verdict, shift_us)
    known = {exchange_of(trace): trace for trace in traces_of(observed.history, shift_us)}
    found = [exchange] if exchange in known else sorted(name for name in known if name.startswith(exchange))
    if len(found) == 1:
        return known[found[0]]
    run = observed.history.settings.run
    if found:
        raise UsageError(f"{exchange!r} means {len(found)} exchanges of run {run}: {found[0]}, {found[1]} …")
    raise UsageError(f"run {run} has no exchange {exchange!r}; `robots traces {run}` lists them, and `run` is the run")


def _drawn(history: History, trace: Trace, exchange: str, shift_us: int) -> Iterator[str]:
    yield from waterfall(trace, shutil.get_terminal_size((_WIDTH, 0)).columns)
    if exchange == _RUN:
        yield _go_note(history, trace, shift_us)
    yield f"trace {trace.spans[0].trace:032x}"


def _go_note(history: History, trace: Trace, shift_us: int) -> str:
    """Where `go` is on the time scale of the run's trace: all else that is printed of a run counts from there."""
    go_ms = next((ms_of(row.id) for row in history.orders if row.order == "go"), None)
    scale = "times here count from the beginning of this trace"
    if go_ms is None:
        return f"{scale}; `go` was never given"
    start_us = min(span.start_us for span in trace.spans)
    return f"{scale}: `go`, from which `robots why` counts, is at {(go_ms * 1000 + shift_us - start_us) / 1000:.1f} ms"


# The list


def _listed(
    observed: ObservedRun, rows: list[ExchangeRow], wanted: Wanted, chosen: int, shown: list[ExchangeRow]
) -> Iterator[str]:
    run = observed.history.settings.run
    counts = ", ".join(f"{outcome} {count}" for outcome, count in _outcomes(rows))
    yield f"run {run}  exchanges {len(rows)}" + (f"  ({counts})" if rows else "")
    if not shown:
        yield _none_wanted(observed, rows, wanted) if rows else "no exchange has begun"
        return
    yield from in_columns(_HEAD, [_cells(row) for row in shown])
    if chosen > len(shown):
        yield f"the slowest {len(shown)} of {chosen}; more with --limit"
    yield f"draw one: robots traces {run} {shown[0].exchange}"


def _none_wanted(observed: ObservedRun, rows: list[ExchangeRow], wanted: Wanted) -> str:
    """Why no exchange is listed: which of the filters, alone, leaves how many."""
    alone = {
        "failed": Wanted(failed=True) if wanted.failed else None,
        f"were begun or answered by {wanted.robot}": Wanted(robot=wanted.robot) if wanted.robot else None,
        f"met the fault {wanted.fault}": Wanted(fault=wanted.fault) if wanted.fault else None,
        f"taught part {wanted.part}": Wanted(part=wanted.part) if wanted.part is not None else None,
    }
    counts = [(text, sum(map(each.is_wanted, rows))) for text, each in alone.items() if each is not None]
    text = "none matches: " + ", ".join(f"{count} {text}" for text, count in counts)
    text += ", but none fits all of that" * (len(counts) > 1 and all(count for _, count in counts))
    dealt = {part.index: part.holders for part in observed.history.dealt}
    if wanted.robot is not None and wanted.robot in dealt.get(wanted.part if wanted.part is not None else -1, ()):
        text += f"; {wanted.robot} was dealt part {wanted.part}, and learnt it from none"
    return text


def _cells(row: ExchangeRow) -> tuple[str, ...]:
    learnt = "; ".join(f"{robot} {indices}" for robot, indices in row.merged.items())
    cells = (
        *(row.exchange, f"{row.start_us / 1e6:.3f} s", f"{row.took_us / 1000:.1f} ms"),
        f"{row.whole_us / 1000:.1f} ms",
        *(f"{row.initiator} → {row.peer}", row.outcome, str(row.attempts), learnt, ", ".join(row.faults)),
    )
    return tuple(printable(cell) for cell in cells)


def _list(observed: ObservedRun, rows: list[ExchangeRow], chosen: int, shown: list[ExchangeRow]) -> ExchangeList:
    return ExchangeList(observed.history.settings.run, len(rows), dict(_outcomes(rows)), chosen, shown)


def _outcomes(rows: list[ExchangeRow]) -> list[tuple[str, int]]:
    return Counter(row.outcome for row in rows).most_common()
