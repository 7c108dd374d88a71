"""What a line of a plan means, once more from the specification: a fault, and when it is due.

A line is `NAME ARGS [TARGET] [@start[+duration]] [every T]`, as settings and requests hold it. Times are microseconds
after `go`. A second opinion, so nothing here may be shared with the code that leads a run. The specification in short:

* A fault of messages without a time is in force from the deal on; without a duration, until something ends it.
* A fault of a process is due once at each of its times (without one: at go). A pause alone lasts.
* What comes again with `every` begins no more once `for_us` is reached or a heal has ended it. The first beginning is
  due in any case, unless a heal comes before.
* `heal` ends what begins before it, or in the same microsecond under a lower instance number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

from telemetry.verdict.finding import EvidenceError
from telemetry.verdict.recomputed.fault_rules import ORDER, Rule, time_us, understand

NEVER_US: Final = 1 << 62
ALWAYS_US: Final = -NEVER_US
PROCESS_FAULTS: Final = ("kill", "pause", "resume", "restart", "crash", "contradict", "amnesia")
NAMES: Final = (*ORDER, *PROCESS_FAULTS, "heal")
_PROCESS: Final = re.compile(
    r"(?P<kind>robot|relay|supervisor|redis)|(?P<numbered>rq:r|relay:|r)(?P<number>[0-9]{1,7})"
)


class Process(NamedTuple):
    """A process as a line names it: its kind, its number (None: any, or the only one), and a worker inside it."""

    kind: str
    number: int | None = None
    worker: str = ""

    def includes(self, victim: Process) -> bool:
        """Whether `victim` is a process that is meant."""
        return self == victim or (self.number is None and self == victim._replace(number=None))


class Interval(NamedTuple):
    """From `begin_us` to before `end_us`."""

    begin_us: int
    end_us: int


@lru_cache(maxsize=1 << 12)
def read_process(text: str) -> Process:
    """The process that a target or a victim names: `r03`, `rq:r03`, `relay:1`, `robot`, `r03/secret_merger` …
    Raises ValueError."""
    name, _, worker = text.partition("/")
    match = _PROCESS.fullmatch(name)
    if match is None:
        raise ValueError(text)
    if match["kind"]:
        return Process(match["kind"], None, worker)
    kinds = {"r": "robot", "rq:r": "rq", "relay:": "relay"}
    return Process(kinds[match["numbered"]], int(match["number"]), worker)


@dataclass(frozen=True)
class Line:
    """One fault and its times. `rule`: what a fault of messages means; `process`: whom a fault of a process is for.
    `heal` has neither. `text` is the fault without its times."""

    instance: int
    name: str
    text: str
    rule: Rule | None = None
    process: Process | None = None
    start_us: int = ALWAYS_US
    duration_us: int | None = None
    every_us: int | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether it is a fault of messages for everyone and always; a plan has one of each name at most."""
        return self.rule is not None and not self.rule.target.sides and self.start_us == ALWAYS_US

    @property
    def meaning(self) -> object:
        """Equal for two lines of the same fault, whatever their instances and times."""
        return self.rule.meaning if self.rule is not None else (self.name, self.process)

    def numbered(self, instance: int) -> Line:
        """The same under another instance number."""
        return replace(self, instance=instance)

    def later(self, start_us: int) -> Line:
        """The same with another start."""
        return replace(self, start_us=start_us)

    @property
    def lasts_us(self) -> int:
        """How long each of its times lasts, unless it is healed: for good, or no time at all, without a duration."""
        if self.duration_us is not None:
            return self.duration_us
        return 0 if self.process is not None else NEVER_US - ALWAYS_US

    def last_us(self, healed_us: int, for_us: int) -> int:
        """When the last of its times begins; the first, if none comes again."""
        if self.every_us is None:
            return self.start_us
        return self.start_us + max(0, (min(healed_us, for_us) - 1 - self.start_us) // self.every_us) * self.every_us

    def occurrences(self, healed_us: int, for_us: int, until_us: int) -> Iterator[Interval]:
        """Its times in order, up to those that begin at `until_us`. What has no duration ends when it is healed."""
        begin_us, last_us = self.start_us, min(healed_us - 1, until_us)
        while begin_us <= last_us:
            end_us = NEVER_US if self.duration_us is None else begin_us + self.duration_us
            yield Interval(begin_us, min(end_us, healed_us))
            if self.every_us is None:
                return
            begin_us, last_us = begin_us + self.every_us, min(last_us, for_us - 1)


@lru_cache(maxsize=1 << 12)
def read_line(text: str, instance: int = 0) -> Line:
    """The line that a text means. Raises EvidenceError for one that this judge does not know."""
    words = text.split()
    try:
        every_us = None
        if len(words) > 2 and words[-2] == "every":
            every_us = time_us(words[-1])
            words = words[:-2]
        start_us, duration_us = ALWAYS_US, None
        if words[-1].startswith("@"):
            start, _, duration = words.pop()[1:].partition("+")
            start_us, duration_us = time_us(start), time_us(duration) if duration else None
        return _line(instance, words, start_us, duration_us, every_us)
    except (IndexError, ValueError, KeyError):
        raise EvidenceError(f"the plan holds {text!r}, which this judge does not understand") from None


def _line(instance: int, words: list[str], start_us: int, duration_us: int | None, every_us: int | None) -> Line:
    name, fault = words[0], " ".join(words)
    if every_us is not None and every_us <= 0:
        raise ValueError(every_us)
    if name == "heal" or name in PROCESS_FAULTS:
        process = None if name == "heal" else read_process(words[1])
        return Line(instance, name, fault, None, process, max(0, start_us), duration_us, every_us)
    return Line(instance, name, fault, understand(instance, fault), None, start_us, duration_us, every_us)


@lru_cache(maxsize=1 << 14)
def meaning_of(fault: str) -> object:
    """What the text of a fault means, as `Line.meaning`. Raises EvidenceError."""
    return read_line(fault).meaning
