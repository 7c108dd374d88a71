"""How a line of a fault plan is written: `NAME ARGS [TARGET] [@start[+duration]] [every T]`. The only parser.

Reading is total: any text gives lines or PlanSyntaxError, which points at the wrong word and says what is allowed.
Each part prints itself (`text()`), and its text reads back as exactly that part. Which faults there are, and how their
arguments are read, the registry knows; the times are read here. A fault of a process is always dated (without a time
it is due at go), and comes again without a duration; a pause alone has one, and must have it.

The presets stand here too: plans by name, data only.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final, TypeVar

import msgspec

from broker.envelope import robot_name
from broker.faults.message_faults import MESSAGE_FAULTS, MessageFault
from broker.faults.process_faults import PROCESS_FAULTS, ProcessFault
from broker.faults.registry import FAULTS, Fault, Heal
from broker.faults.syntax import FaultKind, Token, Tokens, format_duration, one_of, read_time, whole
from broker.faults.target import EVERYONE, TARGET_HELP

T = TypeVar("T")
MOST_LINES: Final = 256
SHORTEST_EVERY_US: Final = 10_000
_MESSAGE_FAULTS: Final = {kind.name: kind for kind in MESSAGE_FAULTS}
_WITHOUT_HEAL: Final[Mapping[str, FaultKind[Fault]]] = {kind.name: kind for kind in (*MESSAGE_FAULTS, *PROCESS_FAULTS)}


class When(msgspec.Struct, frozen=True):
    """When a fault begins, how long it lasts, and how often it comes again. Times count from the order `go`.

    No start: from the deal on. No duration: for good, or, for a fault that lasts no time, none. `every_us` counts from
    beginning to beginning.
    """

    start_us: int | None = None
    duration_us: int | None = None
    every_us: int | None = None

    def stretched(self, factor: Fraction) -> When:
        """The same in a run in which everything takes `factor` times as long. What has a duration keeps one."""
        start_us = 0 if self.start_us is None else round(self.start_us * factor)
        duration_us, every_us = self.duration_us, self.every_us
        if duration_us is not None:
            duration_us = max(1, round(((self.start_us or 0) + duration_us) * factor) - start_us)
        if every_us is not None:
            every_us = max((duration_us or 0) + 1, SHORTEST_EVERY_US, round(every_us * factor))
        return When(None if self.start_us is None else start_us, duration_us, every_us)

    def text(self) -> str:
        if self.start_us is None:
            return ""
        start = f"@{format_duration(self.start_us)}"
        duration = "" if self.duration_us is None else f"+{format_duration(self.duration_us)}"
        every = "" if self.every_us is None else f" every {format_duration(self.every_us)}"
        return start + duration + every


class Line(msgspec.Struct, frozen=True):
    """One line of a plan: a fault, and when."""

    fault: Fault | Heal
    when: When = When()

    @property
    def is_lasting(self) -> bool:
        """Whether it is for everyone and always; of such faults a plan has one per name."""
        is_process_fault = isinstance(self.fault, ProcessFault)
        return self.fault.target == EVERYONE and self.when == When() and not is_process_fault

    def stretched(self, factor: Fraction) -> Line:
        """The same in a run in which everything takes `factor` times as long."""
        return Line(self.fault.stretched(factor), self.when.stretched(factor))

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


def parse_fault(text: str) -> MessageFault:
    """The fault that a text such as `delay 5ms..20ms r03` means, without a time. Raises PlanSyntaxError."""
    return read_fault(whole(text))


def read_fault(text: Token) -> MessageFault:
    """`parse_fault` of a piece of a text."""
    return _timeless(Tokens(text), _MESSAGE_FAULTS)


def read_any_fault(text: Token) -> Fault:
    """The fault of messages or processes that a piece of a text means, without a time. Raises PlanSyntaxError."""
    return _timeless(Tokens(text), _WITHOUT_HEAL)


def _timeless(words: Tokens, kinds: Mapping[str, FaultKind[T]]) -> T:
    fault = _kind(words, kinds).read(words)
    _end(words, "nothing more: here a fault has no time")
    return fault


def _read_line(text: Token) -> Line:
    words = Tokens(text)
    fault = _kind(words, FAULTS).read(words)
    if isinstance(fault, Heal):
        return Line(fault, _healing(words))
    if isinstance(fault, ProcessFault):
        return Line(fault, _process_fault_when(words, fault))
    line = Line(fault, _when(words))
    _end(words, "nothing more" if line.when.start_us is not None else f"{_rest(fault)}a time such as @5s or @5s+2s")
    return line


def _kind(words: Tokens, kinds: Mapping[str, FaultKind[T]]) -> FaultKind[T]:
    name = words.take()
    kind = kinds.get(name.text)
    if kind is None:
        raise name.syntax_error(one_of(kinds, name.text))
    return kind


def _rest(fault: MessageFault) -> str:
    return f"{TARGET_HELP}, or " if fault.target == EVERYONE else ""


def _end(words: Tokens, allowed: str) -> None:
    if words.peek():
        raise words.take().syntax_error(allowed)


# Times of a line.


def _process_fault_when(words: Tokens, fault: ProcessFault) -> When:
    when = _lasting_when(words) if fault.has_duration else _moment(words, fault.name)
    allowed = "every" if when.every_us is None else "nothing more"
    _end(words, allowed if when.start_us else f"a time such as @5s, or {allowed}")
    return when


def _lasting_when(words: Tokens) -> When:
    help_ = "a start and a length, such as @5s+2s"
    if not words.peek().startswith("@"):
        raise words.take().syntax_error(help_)
    start, duration = words.take().cut("+")
    start_us = _start(start)
    if duration is None:
        raise start.syntax_error(help_)
    duration_us = _above_zero(duration)
    return When(start_us, duration_us, _every(words, duration_us))


def _moment(words: Tokens, name: str) -> When:
    """The time of a fault without a duration."""
    start_us = 0
    if words.peek().startswith("@"):
        start, duration = words.take().cut("+")
        start_us = _start(start)
        if duration is not None:
            raise duration.syntax_error(f"nothing more: a {name} takes no time")
    return When(start_us, None, _every(words, 0))


def _healing(words: Tokens) -> When:
    start, duration = words.take().cut("+")
    when = When(_start(start))
    if duration is not None:
        raise duration.syntax_error("nothing more: to heal takes no time")
    _end(words, "nothing more: to heal is for everyone and once")
    return when


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
    duration_us = read_time(word)
    if duration_us == 0:
        raise word.syntax_error("a duration above 0")
    return duration_us


def _start(word: Token) -> int:
    if not word.text.startswith("@"):
        raise word.syntax_error("a time such as @5s")
    return read_time(Token(word.whole, word.start + 1, word.end))


def _every(words: Tokens, duration_us: int) -> int | None:
    if words.peek() != "every":
        return None
    words.take()
    word = words.take()
    every = read_time(word)
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
