"""How the help of every command is laid out: groups with a column of names and a column of text, wrapped at words.

Plain text, as wide as the terminal. The texts stand with the commands and the settings.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

_NARROW: Final = 80  # columns of a terminal, at least
_INDENT: Final = "  "
_WIDEST: Final = 28  # columns of names; a longer one has its text on the next line
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"  # holds together what stands in brackets


class HelpText:
    """A help formatter of cyclopts."""

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:  # noqa: ARG002
        """The usage line. The one argument of ours that may be left out is a run."""
        _print(console, f"Usage: {_plain(usage)}".replace("[ARGS]", "[RUN]"))

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:  # noqa: ARG002
        """What the command does, by paragraphs."""
        for paragraph in _plain(description).split("\n\n"):
            _print(console, "", *textwrap.wrap(paragraph, console.width, break_on_hyphens=False))

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:  # noqa: ARG002
        """A group of commands or parameters."""
        if not panel.entries:
            return
        rows = [(_names(entry), _text(entry)) for entry in panel.entries]
        width = max((len(names) for names, _ in rows if len(names) <= _WIDEST), default=_WIDEST)
        _print(console, "", f"{panel.title}:")
        for names, text in rows:
            _print(console, *_row(names, text, width, console.width))


def table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A table for the end of a command's help: names and texts, for any terminal."""
    named = list(rows)
    width = max(len(name) for name, _ in named)
    return "\n".join([f"{title}:", "", *(line for row in named for line in _row(*row, width, _NARROW))])


def _row(names: str, text: str, width: int, columns: int) -> list[str]:
    head = f"{_INDENT}{names:<{width}}{_INDENT}"
    margin = " " * (len(_INDENT) * 2 + width)
    if len(names) > width:
        return [head.rstrip(), *textwrap.wrap(text, columns, initial_indent=margin, subsequent_indent=margin)]
    lines = textwrap.wrap(text, columns, initial_indent=head, subsequent_indent=margin, break_on_hyphens=False)
    return lines or [head.rstrip()]


def _names(entry: HelpEntry) -> str:
    return ", ".join(entry.display_labels_with_metavar)


def _text(entry: HelpEntry) -> str:
    if entry.default is None or entry.default == "False":
        return _plain(entry.description)
    return f"{_plain(entry.description)} {f'[default: {entry.default}]'.replace(' ', _NO_BREAK)}"


def _plain(text: Any) -> str:
    """What cyclopts hands over: text, or something of rich that holds it."""
    return str(getattr(text, "primary_renderable", text) or "").strip()


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line.replace(_NO_BREAK, " "), markup=False, highlight=False, soft_wrap=True)
