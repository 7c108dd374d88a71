"""`robots faults`: the plan of a live run, seen and changed from another terminal.

A request is checked here before the run gets it; its effect is decided by the run's leader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Final

from cyclopts import App, Parameter

from broker.control_entries import Planned
from broker.faults.grammar import Line
from broker.faults.process_faults import PROCESS_FAULTS
from broker.faults.registry import NETWORK, help_table
from deploy.attach.answers import (
    SETTINGS_UNKNOWN,
    answer_lines,
    begin_lines,
    dated_lines,
    left_lines,
    planned_text,
    seconds_text,
)
from deploy.attach.discovery import HELD_BACK
from deploy.attach.live_plan import (
    MOST_TO_COME,
    Coming,
    Later,
    LivePlan,
    PlanStatus,
    RequestOutcome,
    Standing,
    plan_status,
    remaining,
    still_to_come,
)
from deploy.attach.plan_requests import check_clear, clear_request, set_lines, set_request, unquoted_clear
from deploy.commands.output import print_result
from deploy.commands.outputs import (
    ChangeToCome,
    FaultInForce,
    FaultPlanAnswer,
    FaultPlanStatus,
    FaultToCome,
    StandingFault,
    answer_line,
)
from deploy.commands.service import Run, plan_of
from deploy.config.flags import Given, takes
from deploy.config.settings import PlaceSettings, load_place
from telemetry.console import printable
from telemetry.phrases import counted
from telemetry.record.folder import NoSuchRun

EXAMPLES: Final = """\
Examples:

  robots faults show
  robots faults set "loss .5"
  robots faults set "delay 20ms~0.5; partition r00..r02|r03..r05 @2s+3s"
  robots faults clear loss
  robots faults heal 7b08e1
"""

GRAMMAR: Final = f"""\
FAULT is NAME ARGS [TARGET] [@start[+duration]] [every T]; times count from now:

{help_table(NETWORK, 78)}

TARGET is everyone, r03, r03>r05 or r00..r02|r03..r05. A fault for everyone and
always replaces the one of its name; probability 0 only removes that.

A process fault names a process: r03, robot (any), rq:r03, relay (any), relay:1,
supervisor or redis.

{help_table(PROCESS_FAULTS, 78)}

{EXAMPLES}"""

app = App(
    name="faults",
    help="See and change the faults of a live run, from another terminal.\n\nRUN is an id, a unique prefix, a folder or"
    " `latest`; by default the newest run that is live.",
    help_epilogue=EXAMPLES,
)


Fault = Annotated[str, Parameter(allow_leading_hyphen=False, help="One text in quotes; ; stands between several.")]
What = Annotated[
    str,
    Parameter(allow_leading_hyphen=False, help="A name (loss), one fault's text ('loss 0.5 r03') or number ('#4')."),
]
Surplus = Annotated[str, Parameter(allow_leading_hyphen=False, show=False)]


@app.command
@takes(PlaceSettings)
def show(run: Run = None, /, *, given: Given) -> int:
    """Show what is in force and since when, and what is dated to come."""
    place = load_place(given)
    with plan_of(place, run) as plan:
        seen = plan_status(plan)
    print_result(answer_line(_plan_status_row(seen)) if place.json_ else "\n".join(_plan_status_lines(seen)))
    return 0


@app.command(name="set", help_epilogue=GRAMMAR)
@takes(PlaceSettings)
def set_(fault: Fault, run: Run = None, /, *surplus: Surplus, given: Given) -> int:
    """Put faults in force, now or at a time from now."""
    place = load_place(given)
    lines = set_lines(_texts_of(fault, run, surplus))
    with plan_of(place, run) as plan:
        _print_answer(plan, plan.request(set_request(lines, plan)), place, lines)
    return 0


@app.command
@takes(PlaceSettings)
def clear(what: What, run: Run = None, /, *surplus: Surplus, given: Given) -> int:
    """End faults that are in force, and cancel those that are to come."""
    place = load_place(given)
    texts = _texts_of(what, run, surplus)
    check_clear(texts)
    try:
        plan_of_run = plan_of(place, run)
    except NoSuchRun as error:
        raise unquoted_clear(texts) or error from None
    with plan_of_run as plan:
        _print_answer(plan, plan.request(clear_request(what, plan.in_force, remaining(plan))), place)
    return 0


@app.command
@takes(PlaceSettings)
def heal(run: Run = None, /, *, given: Given) -> int:
    """End every fault that has begun, and let none of them come again. What is dated to begin later still does."""
    place = load_place(given)
    with plan_of(place, run) as plan:
        answer = plan.request("heal")
        left = still_to_come(plan)
    row = _answer_row(plan, answer, None if left is None else [_later_row(later) for later in left])
    print_result(answer_line(row) if place.json_ else "\n".join([*answer_lines(answer), *left_lines(plan.run, left)]))
    return 0


def _texts_of(what: str, run: str | None, surplus: Iterable[str]) -> list[str]:
    return [what, *([] if run is None else [run]), *surplus]


# The answer to a request.


def _print_answer(plan: LivePlan, answer: RequestOutcome, place: PlaceSettings, lines: Sequence[Line] = ()) -> None:
    dated = [FaultToCome(line.text(), (line.when.start_us or 0) / 1e6) for line in dated_lines(lines)]
    row = _answer_row(plan, answer, dated)
    print_result(answer_line(row) if place.json_ else "\n".join([*answer_lines(answer), *begin_lines(lines)]))


def _answer_row(plan: LivePlan, answer: RequestOutcome, to_come: list[FaultToCome] | None) -> FaultPlanAnswer:
    return FaultPlanAnswer(
        run=plan.run,
        request=answer.request,
        old=list(map(_planned_row, answer.old.faults)),
        new=list(map(_planned_row, answer.new.faults)),
        relays=answer.relays,
        seconds=answer.elapsed_us / 1e6,
        to_come=to_come,
    )


def _later_row(later: Later) -> FaultToCome:
    return FaultToCome(later.planned.text, later.in_us / 1e6, later.planned.instance)


def _planned_row(planned: Planned) -> FaultInForce:
    return FaultInForce(planned.instance, planned.text)


# The status.


def _plan_status_lines(seen: PlanStatus) -> Iterator[str]:
    before = HELD_BACK if seen.is_held_back else "before go"
    when = before if seen.now_us is None else f"{seconds_text(seen.now_us)} after go"
    stop = "" if seen.stop is None else f"  ending: {printable(seen.stop)}"
    yield f"run {seen.run}  {when}  {counted(seen.shards, 'relay')}{stop}"
    yield "in force" if seen.standing else "in force: nothing, the network is calm"
    texts = [printable(fault.text) for fault in seen.standing]
    width = max(map(len, texts), default=0)
    for fault, text in zip(seen.standing, texts, strict=True):
        where = "" if len(fault.relays) == seen.shards else f"  only at relay {', '.join(map(str, fault.relays))}"
        yield f"  #{fault.instance:<3} {text:<{width}}  {_since(fault)}{where}"
    if seen.to_come is None:
        yield f"to come: {SETTINGS_UNKNOWN}"
    else:
        yield "to come" if seen.to_come else "to come: nothing"
        yield from (f"  {_coming(change, seen.now_us)}" for change in seen.to_come)
        if len(seen.to_come) == MOST_TO_COME:
            yield "  and perhaps more"


def _since(fault: Standing) -> str:
    if fault.since_us is None:
        return "since the deal"
    return "since before go" if fault.since_us < 0 else f"since {seconds_text(fault.since_us)} after go"


def _coming(change: Coming, now_us: int | None) -> str:
    left = "" if now_us is None else f"in {seconds_text(change.at_us - now_us)}, "
    begin = [f"begins: {', '.join(map(planned_text, change.begin))}"] if change.begin else []
    end = [f"ends: {', '.join(map(planned_text, change.end))}"] if change.end else []
    return f"{left}{seconds_text(change.at_us)} after go  {'  '.join([*begin, *end])}"


def _plan_status_row(seen: PlanStatus) -> FaultPlanStatus:
    standing = [
        StandingFault(fault.instance, fault.text, _or_null(fault.since_us), list(fault.relays))
        for fault in seen.standing
    ]
    to_come = None if seen.to_come is None else list(map(_change_row, seen.to_come))
    return FaultPlanStatus(seen.run, _or_null(seen.now_us), seen.shards, seen.stop, standing, to_come)


def _change_row(change: Coming) -> ChangeToCome:
    begin, end = map(_planned_row, change.begin), map(_planned_row, change.end)
    return ChangeToCome(change.at_us / 1e6, list(begin), list(end))


def _or_null(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1e6
