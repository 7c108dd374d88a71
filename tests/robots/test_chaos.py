"""The player of deeds without a simulation: what stands in the fleet log of each, and what an heir makes of that."""

from collections.abc import Sequence

import pytest

from broker.errors import Unavailable
from broker.faults.grammar import parse_line, parse_lines
from broker.faults.schedule import Due, timed
from broker.faults.scheduler import PlanScheduler
from broker.memory.run_control import MemoryFleetLog
from broker.memory.server import MemoryServer
from broker.ports.robot import FleetRow
from robots.restart_budget import charged
from robots.run.chaos import Chaos
from telemetry.clock import SystemClock
from telemetry.events import AnyEvent, FaultInjected, InjectionFailed

SECOND = 1_000_000


class Hands:
    """Victims to whom all is done that is asked, and put down, but nothing to those who are `beyond` reach."""

    def __init__(self, *beyond: str) -> None:
        self.beyond = set(beyond)
        self.silent: set[str] = set()  # of whom nobody knows whether they were told
        self.done: list[tuple[str, str]] = []

    def can(self, fault: str, name: str) -> bool:
        return name not in self.beyond

    def kill(self, name: str) -> bool:
        return self._do("kill", name)

    def pause(self, name: str) -> bool:
        return self._do("pause", name)

    def resume(self, name: str) -> bool:
        return self._do("resume", name)

    def restart(self, name: str) -> bool:
        return self._do("restart", name)

    def crash(self, robot: str, worker: str) -> bool:
        return self._do("crash", robot)

    def contradict(self, robot: str) -> bool:
        return self._do("contradict", robot)

    def amnesia(self, robot: str) -> bool:
        return self._do("amnesia", robot)

    def _do(self, verb: str, name: str) -> bool:
        if name in self.silent:
            raise Unavailable(name)
        self.done.append((verb, name))
        return name not in self.beyond


class Stage:
    """A player with its log, its hands and what it told."""

    def __init__(self, injection: Hands, seed: int = 1, robots: int = 100) -> None:
        self.log = MemoryFleetLog(MemoryServer(SystemClock()))
        self.events: list[AnyEvent] = []
        self.chaos = Chaos(seed, robots, self.log, injection, self.events.append)

    def play(self, text: str, *living: str, instance: int = 0, occurrence: int = 0) -> None:
        self.chaos.play([Due(instance, occurrence, parse_line(text).fault)], living)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(f"{row.verb} {row.target}", row.victim) for row in self.log.rows()]


def test_names_are_those_of_the_run_however_many_robots_it_has() -> None:
    stage = Stage(Hands(), robots=1000)

    stage.play("kill r3", "r003")
    stage.play("crash r4/inbox_reader", "r004")

    assert [victim for _, victim in stage.told] == ["r003", "r004/inbox_reader"]


def test_who_is_struck_depends_on_seed_fault_turn_and_who_lives_and_on_no_order() -> None:
    def struck(seed: int, instance: int, occurrence: int, living: list[str]) -> str:
        stage = Stage(Hands(), seed)
        stage.play("kill robot", *living, instance=instance, occurrence=occurrence)
        return stage.told[0][1]

    names = [f"r{number:02d}" for number in range(100)] + ["relay:0"]
    drawn = {(s, i, t): struck(s, i, t, names) for s in range(5) for i in range(5) for t in range(5)}

    assert all(struck(*key, names[::-1]) == victim for key, victim in drawn.items())
    assert len(set(drawn.values())) > 50
    assert "relay:0" not in drawn.values()


# What cannot be done.


@pytest.mark.parametrize(
    ("text", "victim"),
    [
        *(("kill redis", "redis"), ("restart redis", "redis"), ("pause rq:r02 @0s+1s", "rq:r02")),
        *(("kill supervisor", "supervisor"), ("crash r02/inbox_reader", "r02"), ("contradict r02", "r02")),
        ("amnesia r02", "r02"),
    ],
)
def test_what_cannot_be_done_is_not_tried_and_excuses_no_death(text: str, victim: str) -> None:
    # Given somebody of whom it is known that he is beyond reach
    injection = Hands(victim)
    stage = Stage(injection)

    # When he is to be struck, and a robot dies after that
    stage.play(text, "r02")
    stage.log.death("r02", "r02", 1, "exit", 1)

    # Then nothing was done and nothing told but that, and the death is the robot's own
    assert (injection.done, len(stage.log.rows())) == ([], 1)
    assert stage.events == [
        InjectionFailed(*text.partition(" @")[0].split(" ", 1), f"it cannot be done to {victim} now")
    ]
    assert len(charged(stage.log.rows(), "r02")) == 1


def test_what_can_be_done_stands_in_the_log_before_it_is() -> None:
    class Watching(Hands):
        def _do(self, verb: str, name: str) -> bool:
            assert stage.told == [("kill r02", "r02")]
            return super()._do(verb, name)

    injection = Watching()
    stage = Stage(injection)
    stage.play("kill r02", "r02")

    assert injection.done == [("kill", "r02")]
    assert stage.events == [FaultInjected("kill", "r02", "r02")]


# What an heir takes over.


class Heir:
    """Who takes over `after_s` into a plan, when the log tells of these deeds (text and victim); then goes on."""

    def __init__(self, plan: str, after_s: float, rows: Sequence[tuple[str, str]]) -> None:
        self._injection = Hands()
        self._stage = Stage(self._injection)
        self._scheduler = PlanScheduler(timed(parse_lines(plan)), 60 * SECOND)
        self._stage.chaos.inherit(self._dues(after_s), fleet_rows(rows))

    def resumed(self, *looks_s: float) -> list[list[str]]:
        """Who is resumed at each of these times."""
        return [self._look(now_s) for now_s in looks_s]

    @property
    def is_settled(self) -> bool:
        return self._stage.chaos.is_settled

    def _look(self, now_s: float) -> list[str]:
        self._injection.done.clear()
        self._stage.chaos.play(self._dues(now_s), ["r01", "r02", "r03"])
        return [name for verb, name in self._injection.done if verb == "resume"]

    def _dues(self, now_s: float) -> list[Due]:
        return self._scheduler.due_faults(round(now_s * SECOND))


def fleet_rows(injections: Sequence[tuple[str, str]]) -> list[FleetRow]:
    log = MemoryFleetLog(MemoryServer(SystemClock()))
    for text, victim in injections:
        log.injection(*text.split(" ", 1), victim)
    return log.rows()


TWO_OF_ANY = "pause robot @1s+9s; pause robot @2s+4s"
TWICE_ONE = "pause r03 @1s+9s; resume r03 @2s; pause r03 @3s+9s"
EACH_TURN = "pause r03 @1s+2s every 3s"


def test_an_heir_lets_each_victim_of_one_fault_go_on_at_its_own_time() -> None:
    successor = Heir(TWO_OF_ANY, 3, [("pause robot", "r01"), ("pause robot", "r03")])

    assert not successor.is_settled
    assert successor.resumed(5.9, 6, 9.9, 10) == [[], ["r03"], [], ["r01"]]
    assert successor.is_settled


def test_an_heir_lets_nobody_go_on_who_was_resumed_by_hand_before_he_was_paused_again() -> None:
    successor = Heir(TWICE_ONE, 4, [("pause r03", "r03"), ("resume r03", "r03"), ("pause r03", "r03")])

    assert successor.resumed(10, 11.9, 12) == [[], [], ["r03"]]
    assert successor.is_settled


def test_an_heir_has_nothing_to_end_when_all_pauses_are_over() -> None:
    over = [("pause r03", "r03"), ("resume r03", "r03")]

    assert Heir(TWICE_ONE, 2.5, over).is_settled
    assert Heir(EACH_TURN, 3.5, over).is_settled
    assert Heir("pause r03 @1s+2s; kill r01", 3.5, [("kill r01", "r01"), *over]).is_settled


def test_a_pause_that_failed_before_does_not_stand_for_a_later_one() -> None:
    # Given a robot that could not be paused in the first occurrence, and is paused since the second
    successor = Heir(EACH_TURN, 5, [("pause r03", "r03")])

    # Then it goes on when the second is over
    assert successor.resumed(5.9, 6) == [[], ["r03"]]


def test_a_pause_of_which_nothing_is_told_is_none() -> None:
    # Given a turn that was over, and one that its player died of before it was done
    successor = Heir(EACH_TURN, 4, [("pause r03", "r03"), ("resume r03", "r03")])

    assert successor.is_settled
    assert successor.resumed(6) == [[]]


def test_who_is_resumed_by_hand_after_a_takeover_goes_on_at_once_and_only_then() -> None:
    successor = Heir("pause r03 @1s+9s; resume r03 @5s", 2, [("pause r03", "r03")])

    assert successor.resumed(5, 10) == [["r03"], []]


def test_the_end_of_a_pause_that_nobody_hears_is_tried_again_and_holds_nothing_else_up() -> None:
    # Given two who are paused
    injection = Hands()
    stage = Stage(injection)
    living = ("r01", "r04", "redis")
    stage.play("pause r01 @0s+1s", *living)
    stage.play("pause redis @0s+1s", *living, instance=1)
    # When the first cannot be told that it goes on, while the other's pause ends too and a deed is due
    injection.silent.add("r01")
    ends = [
        Due(number, 0, parse_line(f"pause {name} @0s+1s").fault, True) for number, name in enumerate(("r01", "redis"))
    ]
    stage.chaos.play([*ends, Due(2, 0, parse_line("kill r04").fault)], living)
    # Then these are done, and the first is when it can be told
    assert injection.done[2:] == [("resume", "redis"), ("kill", "r04")]
    assert not stage.chaos.is_settled
    injection.silent.clear()
    stage.chaos.play([], living)
    assert injection.done[4:] == [("resume", "r01")]
    assert stage.chaos.is_settled


def test_a_deed_of_which_nobody_knows_whether_it_was_done_is_told_once_and_done_to_the_same() -> None:
    # Given a deed whose victim is drawn, and cannot be told
    injection = Hands()
    injection.silent.update({"r01", "r02"})
    stage = Stage(injection)
    stage.play("kill robot", "r01", "r02")
    [(_, drawn)] = stage.told
    # When it is tried again, among others / Then it is told once, and done to the one that was drawn
    injection.silent.clear()
    stage.chaos.play([], ("r01", "r02", "r03"))
    assert stage.told == [("kill robot", drawn)]
    assert injection.done == [("kill", drawn)]
    assert [type(event) for event in stage.events] == [FaultInjected]
