"""Why a run does not go on: one pure function over the state of the run, the deal and the plan in force.

It names a cause only where the state shows it: a robot of which some events are missing may hold anything, and is never
said to lack a part. It judges nothing. An exchange needs both directions of a link, because a summary carries only what
its sender learnt just now, and all other parts come with the answer to a summary or after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, Protocol

import msgspec

from telemetry.phrases import bitmap_of_parts, bits_of, in_brackets, named_parts, named_robots, share
from telemetry.view import RobotView, View

HEAVY_LOSS: Final = 0.75
"""From this share of exchanges on that fail, loss alone explains why a robot learns nothing for a while."""

Holders = Mapping[int, Sequence[str]]
"""By part, the robots that were dealt it."""


class LinksInForce(Protocol):
    """What the plan in force does to the links between robots."""

    @property
    def blocks_any(self) -> bool:
        """Whether nothing at all passes some link."""
        ...

    def blocking(self, sender: str, receiver: str) -> tuple[str, ...]:
        """The faults that let nothing pass; empty when something may pass."""
        ...

    def losing(self, sender: str, receiver: str) -> tuple[str, ...]:
        """The faults that lose or damage some of it, or all."""
        ...

    def lost(self, sender: str, receiver: str) -> float:
        """The share that is lost or damaged, 0..1."""
        ...


class Diagnosis(msgspec.Struct, frozen=True):
    """One cause, as a line for people. `key` is the same for the same cause at another time."""

    key: str
    text: str
    robots: tuple[str, ...] = ()
    parts: tuple[int, ...] = ()


def diagnose(view: View, holders: Holders, links_under: Callable[[Sequence[str]], LinksInForce]) -> list[Diagnosis]:
    """The causes for which this run does not go on, the gravest first; empty when it is done, or none is known."""
    if not view.dealt or view.is_done:
        return []
    return list(_State(view, holders, links_under(view.faults)).causes())


class _State:
    """What is known of the robots at that moment."""

    def __init__(self, view: View, holders: Holders, links: LinksInForce) -> None:
        self._view = view
        self._links = links
        self._dealt: dict[str, int] = defaultdict(int)
        for part, robots in holders.items():
            for robot in robots:
                self._dealt[robot] |= 1 << part
        self._everything = bitmap_of_parts(holders)
        self._unborn = sorted(set(self._dealt) - set(view.robots))
        self._running = [name for name, robot in view.robots.items() if robot.state == "alive" and not robot.is_paused]
        self._incomplete = [name for name in self._running if not view.robots[name].is_complete]

    def causes(self) -> Iterator[Diagnosis]:
        if self._view.has_server_forgotten:
            yield Diagnosis("server", "the server came back without some of what it had stored: the run is lost")
        if self._view.is_held_back:
            yield Diagnosis("held back", "the run is held back, and waits for a person: robots go")
        if self._view.started_us is None:
            yield from self._waiting_for_births()
            return
        for shard in sorted(self._view.relayless):
            yield Diagnosis(f"relay {shard}", f"shard {shard} has no relay: what is sent there waits (robots relay)")
        yield from self._crashed_workers()
        if self._is_known:
            yield from self._parts_out_of_reach()
        yield from self._not_running()
        if not self._view.is_written:
            yield from self._waiting_for_confirmation()

    def _waiting_for_births(self) -> Iterator[Diagnosis]:
        width = max(2, len(str(self._view.dealt - 1)))
        names = (f"r{number:0{width}d}" for number in range(self._view.dealt))
        missing = [name for name in names if name not in self._view.robots]
        if missing:
            are = "is" if len(missing) == 1 else "are"
            text = f"the run has not begun: {named_robots(missing)} {are} not born yet (each needs an RQ worker)"
            yield Diagnosis("births", text, tuple(missing))

    def _crashed_workers(self) -> Iterator[Diagnosis]:
        for name in self._running:
            for worker in sorted(set(self._view.robots[name].crashed)):
                yield Diagnosis(
                    f"{name}/{worker}", f"{name}'s {worker} crashed, and has not been started again since", (name,)
                )

    # Parts

    @cached_property
    def _is_known(self) -> bool:
        """Whether the events show all that each running robot holds."""
        return bool(self._dealt) and all(
            self._held(name).bit_count() == self._view.robots[name].held for name in self._running
        )

    def _held(self, name: str) -> int:
        robot = self._view.robots.get(name)
        return self._dealt.get(name, 0) | (robot.learnt if robot else 0)

    def _held_by(self, names: Iterable[str]) -> int:
        held = 0
        for name in names:
            held |= self._held(name)
        return held

    def _parts_out_of_reach(self) -> Iterator[Diagnosis]:
        gone = self._everything & ~self._held_by(self._running)
        if gone and (self._incomplete or not self._running):
            yield from self._gone(gone)
        for group in self._groups:
            lacking = self._everything & ~self._held_by(group) & ~gone
            if lacking:
                yield self._cut_off(group, lacking)
        yield from self._heavy_loss(gone)

    def _gone(self, gone: int) -> Iterator[Diagnosis]:
        """What no running robot holds, by those who held it."""
        absent = [*(name for name in self._view.robots if name not in self._running), *self._unborn]
        by_holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for part in bits_of(gone):
            by_holders[tuple(sorted(name for name in absent if self._held(name) >> part & 1))].append(part)
        for names, parts in by_holders.items():
            yield Diagnosis(f"gone {','.join(names)}", self._gone_text(names, parts), names, tuple(parts))

    def _gone_text(self, names: tuple[str, ...], parts: list[int]) -> str:
        them = named_parts(parts)
        if not names:
            return f"no living robot holds {them}, and no robot is known that held {_it(parts)}"
        states = [(name, self._absence(name)) for name in names]
        if len(states) > 1:
            return f"no living robot holds {them}: " + ", ".join(f"{name} {state}" for name, state in states)
        [(name, state)] = states
        robot = self._view.robots.get(name)
        if robot is not None and robot.state == "dead":
            return f"no living robot holds {them}: {'its' if len(parts) == 1 else 'their'} sole holder {name} {state}"
        return f"{name} {state}; only it holds {them}"

    def _absence(self, name: str) -> str:
        """Why a robot does not take part now, after its name."""
        robot = self._view.robots.get(name)
        if robot is not None:
            return absence_of(robot)
        return "waits for an RQ worker, and was never born" if name in self._view.unborn else "was never born"

    # Links

    def _is_linked(self, one: str, other: str) -> bool:
        return not (self._links.blocking(one, other) or self._links.blocking(other, one))

    @cached_property
    def _groups(self) -> list[list[str]]:
        """Running robots, in groups that can exchange with each other, by any ways."""
        if not self._links.blocks_any:
            return [self._running] if self._running else []
        return components(self._running, self._is_linked)

    def _cut_off(self, group: list[str], lacking: int) -> Diagnosis:
        parts = bits_of(lacking)
        holders = [name for name in self._running if name not in group and self._held(name) & lacking]
        who, them = named_robots(group), named_robots(holders)
        verb = "lacks" if len(group) == 1 else "lack"
        own = f"{'its' if len(parts) == 1 else 'their'} holder{'s' * (len(holders) > 1)}"
        text = f"{who} {verb} {named_parts(parts)}, and {self._silence(group, holders, f'{own} {them}')}"
        return Diagnosis(f"cut off {who}", text, tuple(group), tuple(parts))

    def _silence(self, group: Sequence[str], holders: Sequence[str], them: str) -> str:
        """Which direction is blocked between a group and those that hold what it lacks, and by what."""
        out = {(one, other): self._links.blocking(one, other) for one in group for other in holders}
        back = {(one, other): self._links.blocking(other, one) for one in group for other in holders}
        faults = _texts([*out.values(), *back.values()])
        who = "it" if len(group) == 1 else "them"
        if not any(out.values()):
            return f"nothing from {them} reaches {who}{faults}"
        if not any(back.values()):
            return f"nothing reaches {them} from {who}, and an exchange needs both directions{faults}"
        return f"nothing passes between {who} and {them}{faults}"

    def _heavy_loss(self, gone: int) -> Iterator[Diagnosis]:
        """Robots that could get what they lack, but few of whose exchanges succeed; those with equal loss together."""
        if not self._incomplete:
            return
        near = [self._near(group) for group in self._groups]
        sides = [(side, self._everything & ~self._held_by(side) & ~gone) for groups in near for side in groups]
        cut = [(side, lacking) for side, lacking in sides if lacking & self._held_by(self._reachable(side))]
        if len(sides) == 2 and cut:
            yield self._two_sides(cut, [side for side, _ in sides])
            return
        alike: dict[str, list[str]] = defaultdict(list)
        for side, lacking in cut:
            holders = [other for other in self._reachable(side) if self._held(other) & lacking]
            faults = _texts(self._links.losing(one, other) for one in side for other in holders)
            alike[f"{self._failing(side, holders)} of the attempts to exchange with their holders fail{faults}"] += side
        for text, names in alike.items():
            parts = bits_of(self._everything & ~self._common(names) & ~gone)
            who = f"{named_robots(names)} {'lacks' if len(names) == 1 else 'lack'}"
            some = " some of" if self._held_by(names) & bitmap_of_parts(parts) else ""
            yield Diagnosis(f"loss {text}", f"{who}{some} {named_parts(parts)}: {text}", tuple(names), tuple(parts))

    def _near(self, group: Sequence[str]) -> list[list[str]]:
        """The group, in sides within which exchanges succeed often enough, by any ways."""
        return components(group, lambda one, other: self._fail_share(one, other) < HEAVY_LOSS)

    def _reachable(self, side: Sequence[str]) -> list[str]:
        """The others to which one of the side has a link that is not blocked."""
        own = set(side)
        others = (other for other in self._running if other not in own)
        return [other for other in others if any(self._is_linked(name, other) for name in side)]

    def _two_sides(self, cut: Sequence[tuple[Sequence[str], int]], sides: Sequence[Sequence[str]]) -> Diagnosis:
        """Two sides that hardly reach each other: which side lacks what only the other holds."""
        few, many = sorted(sides, key=len)
        failing = f"{named_robots(few)} and {named_robots(many)} hardly reach each other: "
        failing += f"{self._failing(few, many)} of the attempts fail{self._losing(few, many)}"
        lacks = [(names, bits_of(lacking)) for names, lacking in sorted(cut, key=lambda each: len(each[0]))]
        each = (
            f"{named_robots(names)} {'lacks' if len(names) == 1 else 'lack'} {named_parts(them)}"
            for names, them in lacks
        )
        parts = sorted({part for _, them in lacks for part in them})
        robots = [name for names, _ in lacks for name in names]
        return Diagnosis(f"loss {failing}", f"{failing}; {'; '.join(each)}", tuple(robots), tuple(parts))

    def _failing(self, side: Sequence[str], others: Sequence[str]) -> str:
        """The share of the attempts to exchange that fail, over the best link between the two sides."""
        linked = ((one, other) for one in side for other in others if self._is_linked(one, other))
        return share(min(self._fail_share(one, other) for one, other in linked))

    def _losing(self, side: Sequence[str], others: Sequence[str]) -> str:
        """The faults that lose between the two sides, and not within them as well, if any is such a one."""
        between = [self._links.losing(one, other) for one in side for other in others]
        between += [self._links.losing(other, one) for one in side for other in others]
        pairs = ((one, other) for names in (side, others) for one in names for other in names if one != other)
        within = {fault for pair in pairs for fault in self._links.losing(*pair)}
        special = [[fault for fault in faults if fault not in within] for faults in between]
        return _texts(special if any(special) else between)

    def _fail_share(self, one: str, other: str) -> float:
        """The share of the attempts to exchange that fail: a summary or its answer is lost."""
        return 1 - (1 - self._links.lost(one, other)) * (1 - self._links.lost(other, one))

    def _common(self, names: Iterable[str]) -> int:
        """The parts that all of them hold."""
        common = self._everything
        for name in names:
            common &= self._held(name)
        return common

    # Robots

    def _not_running(self) -> Iterator[Diagnosis]:
        """Robots that the run waits for."""
        for name, robot in self._view.robots.items():
            is_awaited = robot.state == "away" or (robot.state == "alive" and robot.is_paused)
            if is_awaited and not (robot.is_complete and self._view.is_written):
                yield Diagnosis(f"absent {name}", f"{name} {absence_of(robot)}: it learns nothing", (name,))

    def _waiting_for_confirmation(self) -> Iterator[Diagnosis]:
        """Complete robots of which no peer can answer that it knows the same."""
        complete = [name for name in self._running if self._view.robots[name].is_complete]
        others = {name: [other for other in self._running if other != name] for name in complete}
        for name in complete:
            equals = [other for other in complete if other != name]
            if (
                self._view.robots[name].is_quiet
                or not others[name]
                or any(self._is_linked(name, one) for one in equals)
            ):
                continue
            waits = f"{name} is complete and waits for a peer's confirmation"
            yield Diagnosis(
                f"unconfirmed {name}", f"{waits}: {self._no_confirmation(name, others[name], equals)}", (name,)
            )

    def _no_confirmation(self, name: str, others: list[str], equals: list[str]) -> str:
        out = [self._links.blocking(name, other) for other in others]
        back = [self._links.blocking(other, name) for other in others]
        if all(out):
            return f"nothing it sends arrives{_texts(out)}"
        if all(back):
            return f"nothing arrives at it{_texts(back)}"
        if not equals:
            return "no other robot is complete"
        between = [self._links.blocking(name, one) + self._links.blocking(one, name) for one in equals]
        return f"the other complete robots ({named_robots(equals)}) cannot exchange with it{_texts(between)}"


def components(names: Sequence[str], is_linked: Callable[[str, str], bool]) -> list[list[str]]:
    """The names in groups: those that are linked with each other, directly or over others."""
    left, groups = dict.fromkeys(names), []
    while left:
        group = [left.popitem()[0]]
        for one in group:  # it grows
            near = [other for other in left if is_linked(one, other)]
            group += near
            for other in near:
                del left[other]
        groups.append(sorted(group))
    return sorted(groups)


def absence_of(robot: RobotView) -> str:
    """Why a robot that was born does not take part now, after its name."""
    if robot.state == "waiting":
        return "waits for an RQ worker"
    if robot.state == "dead":
        return {
            "journal": "lost its journal",
            "budget": "died too often, and is not started again",
            "fenced": "was ended by a later life of its own, which has not reported yet",
        }.get(robot.ended, "is dead for good")
    if robot.is_paused:
        return "is paused"
    return "has left" if robot.state == "left" else "died, and its next life is not born yet"


def _it(parts: Sequence[int]) -> str:
    return "it" if len(parts) == 1 else "them"


def _texts(faults: Iterable[Iterable[str]]) -> str:
    return in_brackets(", ".join(dict.fromkeys(text for several in faults for text in several)))
