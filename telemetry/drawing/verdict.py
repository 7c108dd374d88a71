"""The page of the verdict: what held and what did not, the secret, the main figures, and how to see or run it again.

It shows the result as it was judged, and judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, Final

from telemetry.console import harmless
from telemetry.drawing.line import EMPTY, Fragment, Line, Size, Tone, block, fitted, line, scrolled
from telemetry.drawing.marks import Marks
from telemetry.drawing.moment import Moment
from telemetry.phrases import counted, share
from telemetry.plain.wrapping import wrapped_command

Result = Mapping[str, Any]

SECRET_SHOWN: Final = 60  # characters of it
UNTESTED: Final = "not tested"
STATES: Final[tuple[str, ...]] = ("BROKEN", "UNPROVEN", UNTESTED, "HELD")
"""What a person must see first comes first."""

_TONES: Final[dict[str, Tone]] = {"BROKEN": "bad", "UNPROVEN": "news", UNTESTED: "dim", "HELD": "good"}
_MARKS: Final = {"BROKEN": ("✗", "X"), "UNPROVEN": ("?", "?"), UNTESTED: ("○", "o"), "HELD": ("✓", "+")}
_STATE: Final = 12  # cells of the longest word, and a gap
_ROOMY: Final = 30  # lines of a page that has room for rulers


def rows(moment: Moment) -> Sequence[str]:
    """The promises, as they are listed."""
    return [] if moment.status.result is None else [name for name, _, _ in _promises(moment.status.result)]


def draw(moment: Moment, size: Size, marks: Marks) -> list[Line]:
    """The page. Promises that do not fit are scrolled with the cursor; all else is always there."""
    result = moment.status.result
    if result is None:
        return block([EMPTY, line(" there is no verdict yet: it comes when the run is over")], size)
    top = [*_headline(result, size, marks), *_secret(moment, size.width, marks), EMPTY]
    bottom = [EMPTY, *_figures(result, size.width), *_where(result, size.width)]
    free = max(1, size.height - len(top) - len(bottom))
    return block([*top, *_findings(moment, result, Size(size.width, free), marks), *bottom], size)


def state_of(promise: Mapping[str, Any]) -> str:
    """The state of a promise for a person: HELD counts only when something put it to the test."""
    state = str(promise["state"])
    return UNTESTED if state == "HELD" and not promise["tested"] else state


def _promises(result: Result) -> list[tuple[str, str, str]]:
    """Name, state and reason of each, the most serious first, else in the judge's order."""
    found = [(name, state_of(each), str(each["why"])) for name, each in result["promises"].items()]
    return sorted(found, key=lambda one: STATES.index(one[1]))


def _mark(state: str, marks: Marks) -> str:
    return _MARKS[state][marks.is_ascii]


def _headline(result: Result, size: Size, marks: Marks) -> list[Line]:
    """The verdict in one word, how many promises are how, and who wrote; between rulers where there is room."""
    verdict = str(result["verdict"])
    states = [state for _, state, _ in _promises(result)]
    counts = "  ".join(f"{states.count(state)} {state}" for state in STATES if state in states)
    word = Fragment(f" {_mark(verdict, marks)} {verdict}", _TONES[verdict])
    lines = [line(word, f"   of {counted(len(states), 'promise')}: {counts}"), *_wrapped(_written(result), size.width)]
    ruler = line(Fragment(marks.ruler * size.width, _TONES[verdict]))
    return [ruler, *lines, ruler] if size.height >= _ROOMY else lines


def _written(result: Result) -> str:
    """Who wrote, or why it is not so."""
    if result["winner"] is not None:
        life = result["winner_incarnation"]
        return f"{result['winner']} (life {life}) wrote the secret {_seconds(result, 'written')} after go"
    if result["ended"] == "lost":
        return "what was written is not known: the server came back without what it had"
    return f"nothing was written (ended: {result['ended'] or 'never, or not yet'})"


def _secret(moment: Moment, width: int, marks: Marks) -> list[Line]:
    secret = moment.status.secret
    if not secret:
        return []
    more = len(secret) - SECRET_SHOWN
    shown = secret[:SECRET_SHOWN] + (f"{marks.more} ({more} more)" if more > 0 else "")
    return _wrapped(f"secret: {shown}", width)


def _findings(moment: Moment, result: Result, size: Size, marks: Marks) -> list[Line]:
    """The promises with their reasons, wrapped at words. Where they do not all fit, what is HELD has one line each, but
    for the one under the cursor."""
    promises = _promises(result)
    cursor = max(0, min(moment.chosen.cursor, len(promises) - 1))
    name_width = max((len(name) for name, _, _ in promises), default=0)
    drawn = [_finding(promise, name_width, size.width, marks) for promise in promises]
    if sum(map(len, drawn)) > size.height:
        is_short = [state in (UNTESTED, "HELD") and place != cursor for place, (_, state, _) in enumerate(promises)]
        drawn = [
            _first(lines, size.width, marks) if short else lines for lines, short in zip(drawn, is_short, strict=True)
        ]
    lines = [each for several in drawn for each in several]
    below = len(lines) - size.height
    shown, _ = scrolled(lines, sum(map(len, drawn[:cursor])), size.height - (below > 0))
    return [*shown, line(Fragment(f"   {counted(below + 1, 'line')} more: j k", "dim"))] if below > 0 else shown


def _finding(promise: tuple[str, str, str], name_width: int, width: int, marks: Marks) -> list[Line]:
    name, state, why = promise
    head = f" {_mark(state, marks)} {state:<{_STATE}}"
    margin = len(head) + name_width + 2
    first, *more = wrap(harmless(why), max(20, width - margin), break_on_hyphens=False) or [""]
    return [
        line(Fragment(head, _TONES[state]), f"{name:<{name_width}}  {first}"),
        *(line(" " * margin + each) for each in more),
    ]


def _first(lines: list[Line], width: int, marks: Marks) -> list[Line]:
    """The first line, which shows that there is more."""
    return [fitted((*lines[0], Fragment(f" {marks.more}")), width)] if len(lines) > 1 else lines


def _figures(result: Result, width: int) -> list[Line]:
    """What it took, in few lines."""
    times = (
        f"first complete {_seconds(result, 'first_complete')}, all complete {_seconds(result, 'all_complete')},"
        f" whole run {_seconds(result, 'total')}"
    )
    return [each for text in (times, *_more_figures(result)) for each in _wrapped(text, width)]


def _more_figures(result: Result) -> Iterator[str]:
    messages, whole = result["until_complete"]["messages"], result["whole_run"]
    if messages["sent"]:
        lost = share((messages["lost"] or 0) / messages["sent"])
        when = "in all, never all complete" if result["seconds"]["all_complete"] is None else "until all were complete"
        yield (f"{when}: {counted(messages['sent'], 'envelope')}, {messages['per_robot']} a robot, {lost} lost")
    recoveries = whole["recoveries"]
    if recoveries and recoveries["count"]:
        yield (
            f"{counted(recoveries['count'], 'recovery', 'recoveries')}: median {recoveries['p50_s']:.2f} s,"
            f" longest {recoveries['max_s']:.2f} s"
        )


def _where(result: Result, width: int) -> list[Line]:
    """Where the record is, and what to do with it."""
    run = result["run"] or "latest"
    pairs = (("record", result["record"]), ("replay", f"robots replay {run}"), ("why", f"robots why {run}"))
    short = [each for name, text in pairs for each in (Fragment(f" {name} ", "dim"), Fragment(f"{text} "))]
    again = [line(each) for each in wrapped_command(" again ", harmless(str(result["again"] or "-")), width)]
    return [line(*short), *again]


def _seconds(result: Result, name: str) -> str:
    value = result["seconds"][name]
    return "-" if value is None else f"{value:.2f} s"


def _wrapped(text: str, width: int) -> list[Line]:
    """The text, wrapped at words, one cell from the left."""
    return [line(f" {each}") for each in wrap(harmless(text), max(20, width - 1), break_on_hyphens=False) or [""]]
