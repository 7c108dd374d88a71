"""Whether relays held copies back as their fates say, by the inbox entries that robots report.

A relay puts a copy into its inbox once it is due: so long after the envelope's entry in the outbox as the fate says.
Both entries have ids by the server's clock, so no other clock is compared. A live relay reckons that clock from its
own, and on a busy machine may be wrong by some milliseconds for a while. Too early is

* a copy that came more than 100 ms before its time; in a simulation, any;
* what an outbox delayed by 20 ms or more, if of at least twenty such copies more than half came 10 ms before their
  time: errors of a clock that is measured again every second do not all point the same way.

If the server's clock was set back (clock_steps.py), nothing is certain. A relay that is ended in order releases what it
holds: what came about then, or after the order to stop, shows nothing. Events can only convict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from telemetry.events import MessageReceived, ProcessDied
from telemetry.verdict.case import Case
from telemetry.verdict.checks.clock_steps import was_server_set_back
from telemetry.verdict.evidence.fleet import ms_of
from telemetry.verdict.evidence.schema import FateRow
from telemetry.verdict.finding import Finding, broken, unproven

SURE_US: Final = 100_000
LIKELY_US: Final = 10_000
LEAST_DELAY_US: Final = 20_000
FEWEST: Final = 20
_STAMP_US: Final = 999  # an id shows whole milliseconds
_RELEASE_MS: Final = 5_000  # in which a relay that is ended in order releases what it holds

_Address = tuple[str | None, int | None, str | None, int | None]


class Arrival(NamedTuple):
    """A copy in its inbox. `early_us`: how long before its time at least; negative for one that came later."""

    shard: int
    entry: str
    text: str
    delay_us: int
    early_us: int

    @property
    def at_ms(self) -> int:
        """When it was put there (server's clock)."""
        return ms_of(self.entry)


def wrong_releases(case: Case) -> Iterator[Finding]:
    """Findings on copies that came before their time, or were never decided."""
    if "events" in case.damage:
        return
    fates = _fates(case)
    arrivals: dict[int, list[Arrival]] = defaultdict(list)
    for copy in _copies(case):
        address = copy[:4]
        if address not in fates:
            continue  # accounted.py counts these
        arrival = _arrival(fates[address], copy)
        if arrival is not None:
            arrivals[arrival.shard].append(arrival)
        elif case.ended_in_order and not any(row.shard in case.abandoned_shards for row in fates[address]):
            yield broken(f"{_text(copy)} came, and was never decided", f"inbox of {copy.receiver}, entry {copy.entry}")
    for shard, of_shard in sorted(arrivals.items()):
        releases_ms = _releases_ms(case, shard)
        held = (arrival for arrival in of_shard if arrival.at_ms < case.end_ms)
        yield from _too_early(case, [each for each in held if not _is_near(each.at_ms, releases_ms)])


class _Copy(NamedTuple):
    sender: str
    incarnation: int
    receiver: str
    sequence: int
    number: int
    entry: str


def _text(copy: _Copy) -> str:
    return f"copy {copy.number} of {copy.sender}/{copy.incarnation}'s envelope {copy.sequence} to {copy.receiver}"


def _copies(case: Case) -> Iterator[_Copy]:
    """The copies that robots report."""
    for stamped in case.events:
        event = stamped.event
        if isinstance(event, MessageReceived):
            sender = event.sender, event.sender_incarnation
            yield _Copy(*sender, stamped.source, event.sequence, event.copy, event.entry)


def _fates(case: Case) -> dict[_Address, list[FateRow]]:
    """All records of the fates of each envelope: it may stand in its outbox more than once."""
    fates: dict[_Address, list[FateRow]] = defaultdict(list)
    for key, row in case.traffic.envelopes():
        for record in (row, *case.traffic.unequal.get(key, ())):
            fates[record.sender, record.incarnation, record.receiver, record.sequence].append(record)
    return fates


def _arrival(rows: list[FateRow], copy: _Copy) -> Arrival | None:
    """The copy against the fate by which it was due first; None when no fate has it."""
    due = [
        (ms_of(row.id) * 1000 + row.deliveries[copy.number], row)
        for row in rows
        if row.fate == "delivered" and 0 <= copy.number < len(row.deliveries)
    ]
    if not due:
        return None
    due_us, row = min(due, key=lambda pair: pair[0])
    early_us = due_us - ms_of(copy.entry) * 1000 - _STAMP_US
    delay_us = row.deliveries[copy.number]
    return Arrival(row.shard, copy.entry, _text(copy), delay_us, early_us)


def _too_early(case: Case, arrivals: list[Arrival]) -> Iterator[Finding]:
    """Findings on the copies of one outbox."""
    most = max(arrivals, key=lambda arrival: arrival.early_us, default=None)
    if most is None:
        return
    is_simulated = case.settings.mode == "simulated"
    delayed = [arrival for arrival in arrivals if arrival.delay_us >= LEAST_DELAY_US]
    early = [arrival for arrival in delayed if arrival.early_us > LIKELY_US]
    if most.early_us > (0 if is_simulated else SURE_US):
        why = f"{most.text} came {most.early_us / 1000:.0f} ms before its time"
    elif len(delayed) >= FEWEST and 2 * len(early) > len(delayed):
        why = f"{len(early)} of {len(delayed)} delayed copies came before their time, such as {most.text}"
    else:
        return
    if was_server_set_back(case):
        yield unproven(f"{why}; but others came before they were sent, so that the server's clock was set back")
    else:
        yield broken(why, f"outbox {most.shard}, inbox entry {most.entry}")


def _releases_ms(case: Case, shard: int) -> list[int]:
    """When the relay of a shard was ended in order."""
    relay = f"relay:{shard}"
    restarts = [ms_of(row.id) for row in case.fleet.injections if (row.verb, row.victim) == ("restart", relay)]
    died = ((stamped.wall_us // 1000, stamped.event) for stamped in case.events)
    return restarts + [ms for ms, event in died if isinstance(event, ProcessDied) and _ended_in_order(event, relay)]


def _ended_in_order(event: ProcessDied, relay: str) -> bool:
    return (event.process, event.status) == (relay, 0)


def _is_near(at_ms: int, times_ms: list[int]) -> bool:
    return any(abs(at_ms - ms) <= _RELEASE_MS for ms in times_ms)
