"""Convergent: the secret was written, and every robot in scope is complete.

A robot that is cut off, waits for an RQ worker, or is dead is out of scope only where the evidence shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from telemetry.events import FatesDecided, RelayMissing, RobotFenced, RobotLeft, WorkerGaveUp
from telemetry.verdict.case import Case
from telemetry.verdict.checks.fair_network import Network
from telemetry.verdict.checks.progress import hindrance
from telemetry.verdict.checks.witnesses import CLOCKS_DIFFER_US, born_us, died_at_last, recalls
from telemetry.verdict.evidence.journals import RobotJournal
from telemetry.verdict.finding import Finding, broken, held, unproven

SETTLING_TICKS = 20
"""The ticks that a robot must have executed without a change of plan or fleet, and without learning anything, before it
breaks the promise because it is incomplete."""


def convergent(case: Case) -> Finding:
    """The secret was written, and every robot in scope is complete.

    In scope is a robot that was dealt, or was born long enough before the end, and that at the end was alive, not
    paused, not waiting for an RQ worker, and not cut off.
    """
    late = _too_late(case)
    in_time = [robot for robot in case.members if robot not in late]
    for robot in in_time:
        if robot not in case.journals or case.journals[robot].lost:
            return unproven(f"no journal shows whether {robot} is complete")
    alive = _alive(case, in_time)
    incomplete = [journal for journal in alive if not journal.complete]
    if doubt := _doubt(case, alive, incomplete):
        return unproven(f"{_lack(case, alive, incomplete)}; {doubt}")
    situations = _situations(case, alive, incomplete)
    fair = [journal for journal in incomplete if situations[journal.robot] == "fair"]
    hindrances = {journal.robot: _hindrance(case, journal) for journal in fair}
    blamed = [journal for journal in fair if not hindrances[journal.robot]]
    if blamed:
        who = _lack(case, alive, blamed)
        return broken(
            f"{who}, although robots in scope hold every part and had time to send it", f"journal of {blamed[0].robot}"
        )
    if fair:
        return unproven(f"{_lack(case, alive, fair)}; {hindrances[fair[0].robot]}")
    doubtful = [journal for journal in incomplete if situations[journal.robot] == "doubtful"]
    if doubtful:
        who = _lack(case, alive, doubtful)
        return unproven(f"{who}; some robots that hold it were cut off at the end, and others may have got it late")
    in_scope = len(alive) - len(incomplete)
    out = _out_of_scope(case, alive, late, incomplete)
    if not in_scope:
        return unproven(f"no robot was in scope at the end{f'; {out}' * bool(out)}")
    if case.written is None:
        return unproven(f"all {in_scope} robots in scope are complete, and nothing was written")
    return held(f"it was written, and all {in_scope} robots in scope are complete{f'; {out}' * bool(out)}", in_scope)


def _too_late(case: Case) -> set[str]:
    """The robots that joined too late to become complete, or were never born."""
    joined = case.joined_robots
    if not joined:
        return set()
    settled_ms = case.end_ms - SETTLING_TICKS * case.settings.tick_us / 1000
    return {robot for robot in joined if robot not in case.births or case.births[robot].all[0].at_ms > settled_ms}


def _alive(case: Case, robots: Iterable[str]) -> list[RobotJournal]:
    """The journals of the `robots` that lived until the order to stop, and were not paused then."""
    ended, paused = died_at_last(case), _paused(case)
    reasons = {"stop"} | {order.reason for order in case.streams.orders if order.order == "stop"}
    return [
        case.journals[robot] for robot in robots if robot not in paused and _lives(case, robot, robot in ended, reasons)
    ]


def _lives(case: Case, robot: str, has_died: bool, reasons: set[str | None]) -> bool:
    """Whether the robot's last life ended by the order to stop, or has no recorded end."""
    lives = case.journals[robot].lives
    if not lives:
        return False
    for stamped in case.testimony[robot, lives[-1]]:
        match stamped.event:
            case RobotLeft("recalled") if stamped.wall_us > case.end_ms * 1000 + CLOCKS_DIFFER_US:
                return True  # its process was ended before it received the order
            case RobotLeft(reason):
                return reason in reasons
            case RobotFenced() | WorkerGaveUp():
                return False
    return not has_died


def _paused(case: Case) -> set[str]:
    """The robots that were paused when the run ended."""
    return case.fleet.paused(case.end_ms)


def _is_waiting(case: Case, robot: str) -> bool:
    """Whether an event reports that the robot waits for an RQ worker, and no birth followed."""
    lives = case.journals[robot].lives if robot in case.journals else []
    born = born_us(case.testimony[robot, lives[-1]]) if lives else 0
    return max(case.wait_reports_us.get(robot, ()), default=0) > born


def _doubt(case: Case, alive: list[RobotJournal], incomplete: list[RobotJournal]) -> str:
    """Why incomplete robots break no promise; empty when they may, or when there are none."""
    if not incomplete:
        return ""
    gone = _everything(case) - frozenset().union(*(journal.indices for journal in alive))
    return f"no robot in scope holds {_last_holders(case, sorted(gone))}" if gone else _excuse(case, alive)


def _lack(case: Case, alive: list[RobotJournal], incomplete: list[RobotJournal]) -> str:
    """The first incomplete robot, what it lacks, and how many others there are."""
    first = incomplete[0]
    lacks = min(_everything(case) - first.indices, default=None)
    who = f"{first.robot} is not complete" + ("" if lacks is None else f": it lacks part {lacks}")
    return who + f"; {len(incomplete)} of {len(alive)} robots in scope are not" * (len(incomplete) > 1)


def _everything(case: Case) -> frozenset[int]:
    return frozenset(part.index for part in case.deal.indices)


def _situations(case: Case, alive: list[RobotJournal], incomplete: list[RobotJournal]) -> dict[str, str]:
    """By incomplete robot, whether faults in force at the end cut it off."""
    stop_ms = case.order_ms("stop")
    if not incomplete or stop_ms is None:
        return {}
    network = Network(case, alive, stop_ms)
    return {journal.robot: network.situation(journal) for journal in incomplete}


def _out_of_scope(case: Case, alive: list[RobotJournal], late: set[str], cut_off: list[RobotJournal]) -> str:
    """The robots out of scope, and why."""
    paused, recalled = _paused(case), recalls(case)
    whys: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("paused at the end", lambda robot: robot in paused),
        ("waiting for an RQ worker at the end", lambda robot: _is_waiting(case, robot)),
        ("recalled, and not born again", lambda robot: robot in recalled),
        ("joined too late to be in scope", lambda robot: robot in late and robot in case.births),
        ("joined, and never born", lambda robot: robot in late),
    )
    absent = sorted(set(case.members) - {journal.robot for journal in alive})
    named: list[str] = []
    for why, applies in whys:
        robots = [robot for robot in absent if applies(robot)]
        absent = [robot for robot in absent if robot not in robots]
        named += [f"{why}: {_some(robots)}"] * bool(robots)
    names = [journal.robot for journal in cut_off]
    named += [f"cut off at the end, and not complete: {_some(names)}"] * bool(names)
    return "; ".join([f"{len(absent)} were not alive"] * bool(absent) + named)


def _some(robots: list[str]) -> str:
    return ", ".join(robots[:3]) + f" and {len(robots) - 3} more" * (len(robots) > 3)


def _last_holders(case: Case, gone: list[int]) -> str:
    """The parts that no robot in scope holds, and the robots that held them."""
    named = []
    for index in gone[:3]:
        holders = [robot for robot, journal in case.journals.items() if index in journal.indices]
        named.append(f"part {index} (last held by {', '.join(holders) or 'no robot'})")
    return ", ".join(named) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")


def _excuse(case: Case, alive: list[RobotJournal]) -> str:
    """Why the run did not give robots the time or the network to be complete; empty when it did.

    Changes that came with the order to stop or after it (the network is healed then) do not count.
    """
    go_ms, stop_ms = case.order_ms("go"), case.order_ms("stop")
    if go_ms is None or stop_ms is None:
        return f"the order {'go' if go_ms is None else 'stop'} was never given"
    ticks = (stop_ms - _last_change_ms(case, go_ms, stop_ms)) * 1000 // case.settings.tick_us
    if ticks < SETTLING_TICKS:
        return f"only {max(0, ticks)} of {SETTLING_TICKS} ticks passed since go and the last change of plan or fleet"
    if missing := _unrelayed(case, stop_ms):
        return f"no relay served shard {missing[0]} at the end"
    rules = Network(case, alive, stop_ms).above_budget()
    if rules:
        return f"the faults in force ({', '.join(rule.text for rule in rules)}) are above the budget for convergence"
    return ""


def _last_change_ms(case: Case, go_ms: int, stop_ms: int) -> int:
    """When plan or fleet last changed before the order to stop, if after go (server's clock)."""
    return max(go_ms, case.rulebook.last_change_ms(stop_ms), case.fleet.last_change_ms(stop_ms))


def _hindrance(case: Case, journal: RobotJournal) -> str:
    """Why a robot with a fair network could not be expected to be complete; empty when it could."""
    go_ms, stop_ms = case.order_ms("go"), case.order_ms("stop")
    assert go_ms is not None  # or there would be a doubt
    assert stop_ms is not None
    return hindrance(case, journal, _last_change_ms(case, go_ms, stop_ms), stop_ms, SETTLING_TICKS)


def _unrelayed(case: Case, stop_ms: int) -> list[int]:
    """The shards that were reported without a relay, and had no fates decided from then on."""
    missing: dict[int, None] = {}
    for stamped in sorted(case.events, key=lambda stamped: stamped.wall_us):
        match stamped.event:
            case RelayMissing(shard) if stamped.wall_us <= stop_ms * 1000:
                missing[shard] = None
            case FatesDecided(shard=shard) if stamped.wall_us <= stop_ms * 1000:
                missing.pop(shard, None)
    return sorted(missing)
