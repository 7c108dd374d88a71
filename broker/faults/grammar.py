"""How a line of a fault plan is written: `NAME ARGS [TARGET] [@start[+duration]] [every T]`. The only parser.

Reading is total: any text gives lines or PlanSyntaxError, which points at the word that is wrong and says what is
allowed. Each part prints itself (`text()`), and what it prints reads back as exactly that. A fault of processes is
always dated (without a time it is due at go), and needs no duration before `every`; a pause alone has one, and must
have it.

Named plans: what a run's network does when nothing else is said. Data only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Final, TypeVar

import msgspec

from broker.envelope import robot_name
from broker.faults.message_faults import _READERS, AnyFault
from broker.faults.process_faults import PROCESS_FAULT_READERS, Pause, ProcessFault
from broker.faults.syntax import EVERYONE, TARGET_HELP, Target, Token, Tokens, _time, format_duration, one_of, whole

T = TypeVar("T")
MOST_LINES: Final = 256
SHORTEST_EVERY_US: Final = 10_000
Harm = AnyFault | ProcessFault


class When(msgspec.Struct, frozen=True):
    """From when a fault is in force, for how long, and how often again. Times count from the order `go`.

    No start: from the deal on. No duration: for good, or, for what is done in a moment, none. `every_us` counts from
    beginning to beginning.
    """

    start_us: int | None = None
    duration_us: int | None = None
    every_us: int | None = None

    def text(self) -> str:
        if self.start_us is None:
            return ""
        start = f"@{format_duration(self.start_us)}"
        duration = "" if self.duration_us is None else f"+{format_duration(self.duration_us)}"
        every = "" if self.every_us is None else f" every {format_duration(self.every_us)}"
        return start + duration + every


class Heal(msgspec.Struct, frozen=True):
    """Every fault that has begun by then ends, and does not come again."""

    name: ClassVar[str] = "heal"
    is_noop: ClassVar[bool] = False
    target: ClassVar[Target] = EVERYONE

    def text(self) -> str:
        return self.name


class Line(msgspec.Struct, frozen=True):
    """One line of a plan: a fault, and when."""

    fault: Harm | Heal
    when: When = When()

    @property
    def is_lasting(self) -> bool:
        """Whether it is for everyone and always; of such faults a plan has one per name."""
        is_process_fault = isinstance(self.fault, ProcessFault)
        return self.fault.target == EVERYONE and self.when == When() and not is_process_fault

    def text(self) -> str:
        """What `parse_line` reads back."""
        return f"{self.fault.text()} {self.when.text()}".rstrip()


def parse_line(text: str) -> Line:
    """The line that a text such as `partition r00|r01 @5s+2s` means. Raises PlanSyntaxError."""
    return _read_line(whole(text))


def parse_lines(text: str) -> list[Line]:
    """The lines of a text, with `;` between them; blank ones are skipped. Raises PlanSyntaxError."""
    return read_lines(whole(text))


def read_lines(text: Token) -> list[Line]:
    """`parse_lines` of a piece of a text."""
    pieces = [piece for piece in text.split(";") if piece.words()]
    if len(pieces) > MOST_LINES:
        raise pieces[MOST_LINES].words()[0].syntax_error(f"a plan of {MOST_LINES} lines")
    return [_read_line(piece) for piece in pieces]


def parse_fault(text: str) -> AnyFault:
    """The fault that a text such as `delay 5ms..20ms r03` means, without a time. Raises PlanSyntaxError."""
    return read_fault(whole(text))


def read_fault(text: Token) -> AnyFault:
    """`parse_fault` of a piece of a text."""
    return _timeless(Tokens(text), _READERS)


def read_harm(text: Token) -> Harm:
    """The fault of messages or processes that a piece of a text means, without a time. Raises PlanSyntaxError."""
    return _timeless(Tokens(text), {**_READERS, **PROCESS_FAULT_READERS})


def _timeless(words: Tokens, readers: Mapping[str, Callable[[Tokens], T]]) -> T:
    fault = _read_by_name(words, readers, readers)
    _end(words, "nothing more: here a fault bears no time")
    return fault


def _read_line(text: Token) -> Line:
    words = Tokens(text)
    if words.peek() == Heal.name:
        words.take()
        return _healing(words)
    names = [*_READERS, *PROCESS_FAULT_READERS, Heal.name]
    if words.peek() in PROCESS_FAULT_READERS:
        return _process_fault_line(words)
    fault = _read_by_name(words, _READERS, names)
    line = Line(fault, _when(words))
    _end(words, "nothing more" if line.when.start_us is not None else f"{_rest(fault)}a time such as @5s or @5s+2s")
    return line


def _read_by_name(words: Tokens, readers: Mapping[str, Callable[[Tokens], T]], names: Iterable[str]) -> T:
    name = words.take()
    reader = readers.get(name.text)
    if reader is None:
        raise name.syntax_error(one_of(names, name.text))
    return reader(words)


def _rest(fault: AnyFault) -> str:
    return f"{TARGET_HELP}, or " if fault.target == EVERYONE else ""


def _end(words: Tokens, allowed: str) -> None:
    if words.peek():
        raise words.take().syntax_error(allowed)


# Times of a line.


def _process_fault_line(words: Tokens) -> Line:
    fault = PROCESS_FAULT_READERS[words.take().text](words)
    when = _pause_when(words) if isinstance(fault, Pause) else _moment(words, fault.name)
    allowed = "every" if when.every_us is None else "nothing more"
    _end(words, allowed if when.start_us else f"a time such as @5s, or {allowed}")
    return Line(fault, when)


def _pause_when(words: Tokens) -> When:
    help_ = "how long after when, such as @5s+2s"
    if not words.peek().startswith("@"):
        raise words.take().syntax_error(help_)
    start, duration = words.take().cut("+")
    start_us = _start(start)
    if duration is None:
        raise start.syntax_error(help_)
    duration_us = _above_zero(duration)
    return When(start_us, duration_us, _every(words, duration_us))


def _moment(words: Tokens, name: str) -> When:
    """The time of what takes none."""
    start_us = 0
    if words.peek().startswith("@"):
        start, duration = words.take().cut("+")
        start_us = _start(start)
        if duration is not None:
            raise duration.syntax_error(f"nothing more: a {name} takes no time")
    return When(start_us, None, _every(words, 0))


def _healing(words: Tokens) -> Line:
    start, duration = words.take().cut("+")
    when = When(_start(start))
    if duration is not None:
        raise duration.syntax_error("nothing more: to heal takes no time")
    _end(words, "nothing more: to heal is for everyone and once")
    return Line(Heal(), when)


def _when(words: Tokens) -> When:
    if not words.peek().startswith("@"):
        if words.peek() == "every":
            raise words.take().syntax_error("every only after @start+duration")
        return When()
    start_word, duration_word = words.take().cut("+")
    start = _start(start_word)
    if duration_word is None:
        if words.peek() == "every":
            raise words.take().syntax_error("every only after @start+duration")
        return When(start)
    duration = _above_zero(duration_word)
    return When(start, duration, _every(words, duration))


def _above_zero(word: Token) -> int:
    duration_us = _time(word)
    if duration_us == 0:
        raise word.syntax_error("a duration above 0")
    return duration_us


def _start(word: Token) -> int:
    if not word.text.startswith("@"):
        raise word.syntax_error("a time such as @5s")
    return _time(Token(word.whole, word.start + 1, word.end))


def _every(words: Tokens, duration_us: int) -> int | None:
    if words.peek() != "every":
        return None
    words.take()
    word = words.take()
    every = _time(word)
    if every <= duration_us or every < SHORTEST_EVERY_US:
        shortest = max(duration_us + 1, SHORTEST_EVERY_US)
        raise word.syntax_error(f"a time of {format_duration(shortest)} or more, so that it ends before it comes again")
    return every


PRESETS: Final[Mapping[str, tuple[str, ...]]] = {
    "calm": (),
    "lossy": ("loss 0.2", "duplicate 0.1", "delay 5ms..20ms", "reorder 0.1"),
    "storm": ("burst-loss 0.3 5", "duplicate 0.2 x3", "delay 20ms~1", "reorder 0.3", "corrupt 0.02"),
    "split": ("loss 0.05", "delay 5ms..20ms", "partition hold {halves} @0s+3s"),
}
"""Lines by name; `{halves}` stands for the first half of the robots against the second."""


def lines_of(preset: str, robots: int) -> list[Line]:
    """The lines of a preset for so many robots (2 or more). Raises KeyError when there is no such preset."""
    names = [robot_name(number, robots) for number in (0, (robots - 1) // 2, (robots + 1) // 2, robots - 1)]
    halves = "{}..{}|{}..{}".format(*names)
    return [parse_line(text.format(halves=halves)) for text in PRESETS[preset]]
