"""What no line of a plan may ask of one run, though its grammar is right: who is there, and how long the run goes on.

For plans that are given at the start and for what people ask for later alike. Nothing is read here, nothing is told.
"""

from __future__ import annotations

from broker.envelope import robot_name
from broker.faults.grammar import Line
from broker.faults.process_faults import ProcessFault
from broker.faults.syntax import LONGEST_TEXT, format_duration

_SECOND_US = 1_000_000


def unfit(line: Line, robots: int, relays: int, begin_us: int, for_us: int | None) -> str | None:
    """Why `line` is not for a run of so many `robots` and `relays`, in one line that begins with the line itself; None
    when it is.

    `begin_us` is when it begins, counted from `go`; `for_us` is how long the run goes on at least, None when that is
    not known.
    """
    text, last = line.text(), line.fault.target.highest
    if len(text) > LONGEST_TEXT:  # written shorter it could be read, but what relays get is this
        return f"'{text[:40]}…': written out it has {len(text)} characters; allowed are {LONGEST_TEXT}"
    if last is not None and last >= robots:
        names = f"{robot_name(0, robots)} to {robot_name(robots - 1, robots)}"
        return f"{text!r}: r{last:02d} is none of the robots; they are {names}"
    relay = line.fault.victim.relay if isinstance(line.fault, ProcessFault) else None
    if relay is not None and relay >= relays:
        return f"{text!r}: there is no relay:{relay}; they are relay:0 to relay:{relays - 1}"
    every_us = line.when.every_us
    if every_us is not None and for_us is not None and begin_us >= for_us:
        longer_s = (begin_us + 3 * every_us) // _SECOND_US + 1
        return (
            f"{text!r}: it would come again only until --for, which is {format_duration(for_us)};"
            f" start the run with a longer one, such as --for {longer_s}s"
        )
    return None
