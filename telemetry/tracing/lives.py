"""What became of robots' lives and of the fault plan, as far as an exchange depends on it: deaths, ends in order,
crashes of an initiator, and the plan change that freed what a partition held.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from typing import Final

from telemetry.events import RobotBorn, RobotFenced, RobotLeft, Stamped, WorkerCrashed
from telemetry.record.clocks import Life
from telemetry.record.rows import DeathRow, FateRow, PlanRow
from telemetry.tracing.clocks import Clocks, EntryId, entry_id

INITIATOR: Final = "gossip_initiator"  # the worker that begins exchanges, and knows of them
_OF_LIVES: Final = {RobotBorn, RobotLeft, RobotFenced, WorkerCrashed}
HOLD: Final = "partition hold"  # how the text of a fault begins that keeps envelopes back


class Lives:
    """How each life began and ended, so far. `latest_us`: the newest stamp of every life that goes on."""

    def __init__(self) -> None:
        self.latest_us: dict[Life, int] = {}
        self._births: dict[Life, Stamped] = {}
        self._deaths: dict[Life, DeathRow] = {}
        self._unnamed: dict[str, list[DeathRow]] = {}  # deaths of a robot whose journal was gone
        self._left: set[Life] = set()
        self._crashes: dict[Life, list[Stamped]] = {}
        self._newest: dict[str, int] = {}

    def event(self, stamped: Stamped) -> None:
        """What an event shows of its source's life."""
        life = (stamped.source, stamped.incarnation)
        if life in self.latest_us:
            self.latest_us[life] = stamped.wall_us
        if type(stamped.event) in _OF_LIVES:
            self._turn(life, stamped)

    def _turn(self, life: Life, stamped: Stamped) -> None:
        match stamped.event:
            case RobotBorn():
                self._births[life] = stamped
                self._newest[stamped.source] = max(stamped.incarnation, self._newest.get(stamped.source, 0))
                self.latest_us[life] = stamped.wall_us
                for other in [other for other in self.latest_us if self.is_over(other)]:
                    del self.latest_us[other]
            case RobotLeft() | RobotFenced():
                self._left.add(life)
                self.latest_us.pop(life, None)
            case WorkerCrashed(worker=worker) if worker == INITIATOR:
                self._crashes.setdefault(life, []).append(stamped)

    def death(self, row: DeathRow) -> None:
        """A death of a robot; other processes' play no part here."""
        if not row.robot:
            return
        if not row.incarnation:
            unnamed = self._unnamed.setdefault(row.robot, [])
            if row not in unnamed:
                unnamed.append(row)
            return
        life = (row.robot, row.incarnation)
        known = self._deaths.get(life)
        if known is None or entry_id(row.id) < entry_id(known.id):
            self._deaths[life] = row
        self.latest_us.pop(life, None)

    def death_of(self, life: Life, clocks: Clocks) -> DeathRow | None:
        """How the life died; None: it did not, or that is not known. A death of a robot whose journal was gone is that
        of the life that was there then."""
        if life in self._deaths or life not in self._births:
            return self._deaths.get(life)
        next_life = self._births.get((life[0], life[1] + 1))
        born_us = clocks.of_event(self._births[life])
        until_us = None if next_life is None else clocks.of_event(next_life)
        for row in self._unnamed.get(life[0], ()):
            at_us = clocks.of_entry(row.id)
            if at_us >= born_us and (until_us is None or at_us <= until_us):
                return row
        return None

    def died_us(self, life: Life, clocks: Clocks) -> int | None:
        """When the life died, as far as is known; None: it did not, or that is not known. On a busy host its next life
        may be born before its death is noticed."""
        row = self.death_of(life, clocks)
        if row is None:
            return None
        next_life = self._births.get((life[0], life[1] + 1))
        noticed_us = clocks.of_entry(row.id)
        return noticed_us if next_life is None else min(noticed_us, clocks.of_event(next_life))

    def crashed_us(self, life: Life, since_us: int, clocks: Clocks) -> int | None:
        """When the life's initiator crashed first, not before `since_us`."""
        times = (clocks.of_event(stamped) for stamped in self._crashes.get(life, ()))
        return min((at_us for at_us in times if at_us >= since_us), default=None)

    def is_over(self, life: Life) -> bool:
        """Whether the life has ended, in any way."""
        return life in self._deaths or life in self._left or self._newest.get(life[0], 0) > life[1]


class Plans:
    """The plan changes of each shard, in their order."""

    def __init__(self) -> None:
        self._changes: dict[int, list[tuple[EntryId, frozenset[int]]]] = {}

    def control(self, row: PlanRow) -> None:
        """A plan change; the same twice does no harm."""
        change = (entry_id(row.id), frozenset(fault.instance for fault in row.faults))
        changes = self._changes.setdefault(row.shard, [])
        if change not in changes:
            insort(changes, change, key=lambda pair: pair[0])

    def freed_by(self, row: FateRow) -> str | None:
        """The id of the plan change that freed what partitions held back; None when none did."""
        holding = {fault.instance for fault in row.faults if fault.fault.startswith(HOLD)} if row.faults else ()
        if not holding:
            return None
        sent = entry_id(row.id)
        later: Iterator[EntryId] = (
            at for at, instances in self._changes.get(row.shard, ()) if at > sent and instances.isdisjoint(holding)
        )
        at = next(later, None)
        return None if at is None else f"{at[0]}-{at[1]}"
