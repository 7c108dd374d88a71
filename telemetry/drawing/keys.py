"""The keys of the app in one table: what they do, in which group the help lists them, and what the line below shows.

The app binds what stands here, and its palette offers it by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from telemetry.drawing.line import Fragment, Line, fitted, width_of
from telemetry.drawing.moment import Moment, Page

Group = Literal["pages", "move", "choose", "time", "harm", "view"]
GROUPS: Final[dict[Group, str]] = {
    "pages": "PAGES",
    "move": "MOVE",
    "choose": "CHOOSE WHAT IS SHOWN",
    "time": "TIME",
    "harm": "CHANGE THE RUN",
    "view": "THE VIEW ITSELF",
}


class Key(NamedTuple):
    """`keys` as Textual names them, with commas between; `text`: what they do. `shown`: this key and its sister as a
    person reads them, and `both` what the two do; empty: its sister shows it."""

    action: str
    keys: str
    text: str
    group: Group
    shown: str = ""
    both: str = ""


PAGE_WORDS: Final[dict[Page, tuple[str, str, str]]] = {
    "overview": ("1", "View", "how it converges, at a glance"),
    "robots": ("2", "Robots", "each robot, with its figures"),
    "faults": ("3", "Faults", "what harms the network"),
    "supervision": ("4", "Superv", "who died, and was born again"),
    "events": ("5", "Events", "every event, one a line"),
    "verdict": ("6", "Verdict", "what held, once it is judged"),
}
"""The key of a page, its name in the line below, and what it shows."""

KEYS: Final[tuple[Key, ...]] = (
    *(Key(f"page('{page}')", key, text, "pages", key) for page, (key, _, text) in PAGE_WORDS.items()),
    Key("move(1)", "j,down", "down one row", "move", "j k", "one row down, up"),
    Key("move(-1)", "k,up", "up one row", "move"),
    Key("move_page(1)", "pagedown", "down a page", "move", "pgdn up", "a page down, up"),
    Key("move_page(-1)", "pageup", "up a page", "move"),
    Key("top", "g,home", "to the first row", "move", "g G", "first row, last row"),
    Key("end", "G,end", "to the last row", "move"),
    Key("into", "enter", "into the row: a robot, or a message's life", "move", "enter", "into a robot, a message"),
    Key("out", "escape", "out again", "move", "esc", "out again"),
    Key("tab(-1)", "left_square_bracket", "previous tab of a robot", "move", "[ ]", "previous, next tab of a robot"),
    Key("tab(1)", "right_square_bracket", "next tab of a robot", "move"),
    Key("robot(1)", "n", "next robot", "move", "n p", "next, previous robot"),
    Key("robot(-1)", "p", "previous robot", "move"),
    Key("filter", "slash", "filter the rows", "choose", "/", "filter the rows as you type"),
    Key("sort", "s", "sort by the next column", "choose", "s S", "sort by the next, reverse"),
    Key("reverse", "S", "sort the other way round", "choose"),
    Key("trouble", "o", "only what is in trouble, or all", "choose", "o", "only trouble, or all"),
    Key("follow", "t", "follow the newest event, or stay", "choose", "t", "follow the newest event"),
    Key("maximise", "m", "one panel fills the page; again: the next", "choose", "m", "one panel fills the page"),
    Key(
        "pause",
        "space",
        "hold the view; a replay: play, stand",
        "time",
        "space",
        "hold the view; replay: play",
    ),
    Key("step(-1)", "comma", "one event back, in a replay", "time", ", .", "replay: event back, on"),
    Key("step(1)", "full_stop", "one event on, in a replay", "time"),
    Key("tick(-1)", "less_than_sign", "one tick back, in a replay", "time", "< >", "replay: tick back, on"),
    Key("tick(1)", "greater_than_sign", "one tick on, in a replay", "time"),
    Key("more", "plus", "a replay twice as fast", "time", "+ -", "replay: faster, slower"),
    Key("less", "minus", "a replay half as fast", "time"),
    Key("refresh_rate", "r", "paint 2, 4 or 10 times a second", "view", "r", "paint 2, 4, 10 times a second"),
    Key("copy", "c", "copy the row to the clipboard", "view", "c", "copy the row"),
    Key("save", "w", "save this screen as SVG and text", "view", "w", "save the screen: SVG, text"),
    Key("command_palette", "ctrl+p", "every action by its name", "view", "ctrl+p", "every action by its name"),
    Key("help", "question_mark", "keys and marks", "view", "?", "keys and marks: this page"),
    Key("suspend", "ctrl+z", "back to the shell, until fg", "view"),
    Key("leave", "q", "leave the view; the run goes on", "view", "q", "leave; the run goes on"),
    Key("interrupt", "ctrl+c", "stop the run: twice", "view", "ctrl+c", "twice: stop the run"),
)

HARM: Final[tuple[tuple[str, str], ...]] = (
    ("+ - 0", "faults: turn a knob, clear it"),
    ("enter", "faults: apply what was turned"),
    ("t n p", "faults: for everyone, a robot"),
    ("e", "any fault, by its text"),
    ("K P R", "kill, pause, resume the robot"),
    ("C X A", "crash, contradict, amnesia"),
    ("H", "heal: end all faults"),
    ("g", "a run that is held back: go"),
)
"""The keys of the knobs (telemetry/watch/knobs.py), for the help: those that a person sees, and what they do."""

_ROOMY: Final = 110  # columns in which all pages and all keys of a replay have room


def footer(moment: Moment | None, pages: Sequence[Page], width: int) -> Line:
    """The line below: the pages that there are, and of the other keys as many as fit."""
    chosen = None if moment is None else moment.chosen.page
    is_short = moment is not None and moment.status.mode == "replay" and width < _ROOMY
    left = _chosen_page(pages, chosen) if is_short else _all_pages(pages, chosen)
    right = [each for key, word in (("?", "Help"), ("q", "Quit")) for each in _shown(key, word)]
    free = width - width_of(tuple(left)) - width_of(tuple(right))
    for key, word in _more(moment):
        shown = _shown(key, word)
        if width_of(shown) <= free:
            left += shown
            free -= width_of(shown)
    return fitted((*left, *right), width)


def _all_pages(pages: Sequence[Page], chosen: Page | None) -> list[Fragment]:
    words = [(page, *PAGE_WORDS[page][:2]) for page in pages]
    return [
        each
        for page, key, word in words
        for each in (Fragment(f" {key}", "key"), Fragment(f" {word}", "title" if page == chosen else ""))
    ]


def _chosen_page(pages: Sequence[Page], chosen: Page | None) -> list[Fragment]:
    """The page that is shown alone, where the keys of a replay need the room."""
    keys = [PAGE_WORDS[page][0] for page in pages]
    return [
        Fragment(f" {keys[0]}-{keys[-1]}", "key"),
        Fragment(f" {PAGE_WORDS[chosen][1] if chosen else 'Page'}", "title"),
    ]


def _shown(key: str, word: str) -> Line:
    return Fragment(f"  {key}", "key"), Fragment(f" {word}")


def _more(moment: Moment | None) -> list[tuple[str, str]]:
    """Keys that are of use at the moment, the most useful first."""
    if moment is None:
        return []
    status = moment.status
    if status.mode == "replay":
        play = "Stand" if status.is_playing else "Play"
        return [("space", play), (",.", "Event"), ("<>", "Tick"), ("+-", "Speed"), ("/", "Filter"), ("m", "Max")]
    go = [("g", "GO")] if status.is_held else []
    pause = "Go on" if moment.chosen.is_paused else "Pause"
    return [*go, ("space", pause), ("/", "Filter"), ("m", "Max"), ("w", "Save")]
