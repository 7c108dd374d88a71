"""The dialogs of the knobs: a question before something is destroyed, a choice of one of a robot's workers, and a line
for any fault's text. What they show comes partly from outside, and is never read as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from telemetry.console import harmless
from telemetry.watch.stage import Reply

_CSS = """
{name} {{ align: center middle; }}
{name} > Vertical {{
    width: 72; max-width: 90%; height: auto; max-height: 80%;
    border: ascii $foreground; padding: 0 1; background: $background;
}}
{name} Input, {name} OptionList {{ border: none; height: auto; margin: 1 0; padding: 0; }}
"""


def plain(text: str) -> Static:
    """A text that is shown as it is."""
    return Static(harmless(text), markup=False)


class Confirm(ModalScreen[bool]):
    """Asks before `question` is done; `command` does the same."""

    CSS = _CSS.format(name="Confirm")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "Yes"),
        Binding("n,escape", "dismiss(False)", "No"),
    ]

    def __init__(self, question: str, command: str) -> None:
        super().__init__()
        self._question = question
        self._command = command

    def compose(self) -> ComposeResult:
        with Vertical():
            yield plain(self._question)
            yield plain(f"same as: {self._command}")
            yield plain("y does it   n or esc does not")


class WorkerChoice(ModalScreen[str | None]):
    """Asks for one of several; None: for none of them."""

    AUTO_FOCUS = "OptionList"
    CSS = _CSS.format(name="WorkerChoice")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Drop it"),
        Binding("j", "cursor(1)", "Down", show=False),
        Binding("k", "cursor(-1)", "Up", show=False),
    ]

    def __init__(self, question: str, options: Sequence[str]) -> None:
        super().__init__()
        self._question = question
        self._options = options

    def compose(self) -> ComposeResult:
        with Vertical():
            yield plain(self._question)
            yield OptionList(*(Option(harmless(option)) for option in self._options), markup=False)
            yield plain("j k or arrows choose   enter does it   esc does not")

    def action_cursor(self, rows: int) -> None:
        options = self.query_one(OptionList)
        options.highlighted = max(0, min((options.highlighted or 0) + rows, len(self._options) - 1))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._options[event.option_index])


class FaultInput(ModalScreen[None]):
    """A line for any fault's text. `submit` is called with it, and calls `finish` with the reply: one that was refused
    is shown here, and the text stays."""

    AUTO_FOCUS = "Input"
    CSS = _CSS.format(name="FaultInput")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Drop it")]

    def __init__(self, submit: Callable[[str, FaultInput], None]) -> None:
        super().__init__()
        self._submit = submit

    def compose(self) -> ComposeResult:
        with Vertical():
            yield plain("any fault, as for: robots faults set")
            yield Input(placeholder="loss .3 r03 @0s+5s", max_length=4000, highlighter=None)
            yield Static("enter asks the run   esc drops it", markup=False, id="state")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.show_state("the run is asked ...")
            self._submit(event.value, self)

    def show_state(self, text: str) -> None:
        """Show this below the line."""
        self.query_one("#state", Static).update(harmless(text))

    def finish(self, reply: Reply) -> None:
        """Close, or show why the fault was refused."""
        if reply.is_done:
            self.dismiss()
        else:
            self.show_state("\n".join(map(harmless, reply.lines)))
