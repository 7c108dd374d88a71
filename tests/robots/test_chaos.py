"""Chaos without a simulation: what it records of each injection, and what its successor makes of that."""

from collections.abc import Sequence

import pytest

from broker.errors import Unavailable
from broker.faults.grammar import parse_line, parse_lines
from broker.faults.schedule import Due, timed
from broker.faults.scheduler import PlanScheduler
from broker.memory.run_control import MemoryFleetLog
from broker.memory.server import MemoryServer
from broker.ports.robot import Death, Failure, FleetRow, Injection
from robots.restart_budget import charged
from robots.run.chaos import Chaos, paused_in
from telemetry.clock import SystemClock
from telemetry.events import AnyEvent, FaultInjected, InjectionFailed

SECOND = 1_000_000


class FakeInjector:
    """Does everything, and notes it, but nothing to the processes that are out of reach (`beyond`)."""

    def __init__(self, *beyond: str) -> None:
        self.beyond = set(beyond)
        self.silent: set[str] = set()  # processes of which it is never known whether it was done
        self.done: list[tuple[str, str]] = []

    def can(self, fault: str, name: str) -> bool:
        return name not in self.beyond

    def inject(self, verb: str, victim: str) -> bool:
        name = victim.partition("/")[0]
        if name in self.silent:
            raise Unavailable(name)
        self.done.append((verb, name))
        return name not in self.beyond


class Stage:
    """A Chaos with its log, its injector and its events."""

    def __init__(self, injection: FakeInjector, seed: int = 1, robots: int = 100) -> None:
        self.server = MemoryServer(SystemClock())
        self.log = MemoryFleetLog(self.server)
        self.events: list[AnyEvent] = []
        self.chaos = Chaos(seed, robots, self.log, injection, self.events.append)

    def play(self, text: str, *living: str, instance: int = 0, occurrence: int = 0) -> None:
        self.chaos.play([Due(instance, occurrence, parse_line(text).fault)], living)

    @property
    def recorded(self) -> list[tuple[str, str]]:
        return [(f"{row.verb} {row.target}", row.victim) for row in self.log.rows()]


def test_names_are_those_of_the_run_however_many_robots_it_has() -> None:
    stage = Stage(FakeInjector(), robots=1000)

    stage.play("kill r3", "r003")
    stage.play("crash r4/inbox_reader", "r004")

    assert [victim for _, victim in stage.recorded] == ["r003", "r004/inbox_reader"]


def test_a_process_is_paused_until_it_goes_on_or_dies_or_the_pause_proves_to_have_failed() -> None:
    def paused(*rows: FleetRow) -> set[str]:
        return paused_in([Injection("1-0", "pause", "r01", "r01"), *rows])

    assert paused() == {"r01"}
    assert paused(Injection("2-0", "pause", "relay", "relay:0")) == {"r01", "relay:0"}
    assert paused(Injection("2-0", "resume", "r01", "r01")) == set()
    assert paused(Injection("2-0", "resume", "r02", "r02")) == {"r01"}
    assert paused(Death("2-0", "r01", "r01", 1, "silent", -9)) == set()
    assert paused(Death("2-0", "rq:r01", "r01", 1, "signal", -9)) == set()
    assert paused(Failure("2-0", "pause", "r01", "gone")) == set()
    assert paused(Failure("2-0", "kill", "r01", "gone")) == {"r01"}
    assert paused(Injection("2-0", "resume", "r01", "r01"), Injection("3-0", "pause", "robot", "r01")) == {"r01"}


def test_the_victim_depends_on_seed_instance_occurrence_and_the_living_and_on_no_order() -> None:
    def victim_of(seed: int, instance: int, occurrence: int, living: list[str]) -> str:
        stage = Stage(FakeInjector(), seed)
        stage.play("kill robot", *living, instance=instance, occurrence=occurrence)
        return stage.recorded[0][1]

    names = [f"r{number:02d}" for number in range(100)] + ["relay:0"]
    drawn = {(s, i, t): victim_of(s, i, t, names) for s in range(5) for i in range(5) for t in range(5)}

    assert all(victim_of(*key, names[::-1]) == victim for key, victim in drawn.items())
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
    # Given a process that is known to be out of reach
    injection = FakeInjector(victim)
    stage = Stage(injection)

    # When a fault is due for it, and a robot dies after that
    stage.play(text, "r02")
    stage.log.death("r02", "r02", 1, "exit", 1)

    # Then nothing was done, the log and an event say why, and the death is the robot's own
    verb, target = text.partition(" @")[0].split(" ", 1)
    why = f"it cannot be done to {victim} now"
    failure, death = stage.log.rows()
    assert (injection.done, failure) == ([], Failure(failure.entry, verb, target, why))
    assert isinstance(death, Death)
    assert stage.events == [InjectionFailed(verb, target, why)]
    assert len(charged(stage.log.rows(), "r02")) == 1


def test_what_can_be_done_stands_in_the_log_before_it_is() -> None:
    class Watching(FakeInjector):
        def inject(self, verb: str, victim: str) -> bool:
            assert stage.recorded == [("kill r02", "r02")]
            return super().inject(verb, victim)

    injection = Watching()
    stage = Stage(injection)
    stage.play("kill r02", "r02")

    assert injection.done == [("kill", "r02")]
    assert stage.events == [FaultInjected("kill", "r02", "r02")]


def test_an_injection_that_fails_after_it_was_recorded_is_followed_by_its_failure() -> None:
    # Given a process that goes between the check and the injection
    class Late(FakeInjector):
        def can(self, fault: str, name: str) -> bool:
            return True

    stage = Stage(Late("r02"))
    # When a person's request for it is due
    stage.chaos.play([Due(0, 0, parse_line("kill r02").fault, request_id="7-0")], ["r02"])
    # Then both stand in the log, with the request
    injection, failure = stage.log.rows()
    assert injection == Injection(injection.entry, "kill", "r02", "r02", "7-0")
    assert failure == Failure(failure.entry, "kill", "r02", "it cannot be done to r02 now", "7-0")


def test_a_failure_is_recorded_once_the_server_is_there() -> None:
    # Given a server that is away when a robot is to be resumed that is not paused, and one killed that is dead
    stage = Stage(FakeInjector())
    stage.server.is_away = True
    stage.chaos.play([Due(0, 0, parse_line("resume r02").fault), Due(1, 0, parse_line("kill r03").fault)], ["r02"])
    assert (stage.events, stage.chaos.is_settled) == ([], False)
    # When it is back
    stage.server.is_away = False
    stage.chaos.play([], ["r02"])
    # Then both stand in the log, each once
    assert [(row.verb, row.why) for row in stage.log.rows() if isinstance(row, Failure)] == [
        ("resume", "no pause of r02 has begun"),
        ("kill", "there is no r03 now"),
    ]
    assert stage.chaos.is_settled


def test_only_the_person_s_own_resume_bears_the_request() -> None:
    # Given a pause that a person requested, another that the plan had, and a requested resume
    stage = Stage(FakeInjector())
    pause, planned = parse_line("pause r02 @0s+1s").fault, parse_line("pause r03 @0s+9s").fault
    stage.chaos.play([Due(0, 0, pause, request_id="7-0"), Due(1, 0, planned)], ["r02", "r03"])
    # When the one is over by its time, and the other by the request
    resume = parse_line("resume r03").fault
    stage.chaos.play([Due(0, 0, pause, True, "7-0"), Due(2, 0, resume, request_id="8-0")], ["r02", "r03"])
    # Then the rows show which is which
    rows = [(row.verb, row.victim, row.request_id) for row in stage.log.rows()]
    assert rows == [
        *(("pause", "r02", "7-0"), ("pause", "r03", "")),
        *(("resume", "r02", ""), ("resume", "r03", "8-0")),
    ]


# What a successor takes over.


class Successor:
    """A Chaos that takes over `after_s` into a plan, when these injections (text, victim) are in the log."""

    def __init__(self, plan: str, after_s: float, rows: Sequence[tuple[str, str]]) -> None:
        self._injection = FakeInjector()
        self._stage = Stage(self._injection)
        self._scheduler = PlanScheduler(timed(parse_lines(plan)), 60 * SECOND)
        self._stage.chaos.inherit(self._dues(after_s), fleet_rows(rows))

    def resumed(self, *times_s: float) -> list[list[str]]:
        """The processes that are resumed at each of these times."""
        return [self._play(now_s) for now_s in times_s]

    @property
    def is_settled(self) -> bool:
        return self._stage.chaos.is_settled

    def _play(self, now_s: float) -> list[str]:
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


def test_a_successor_resumes_each_victim_of_one_fault_at_its_own_time() -> None:
    successor = Successor(TWO_OF_ANY, 3, [("pause robot", "r01"), ("pause robot", "r03")])

    assert not successor.is_settled
    assert successor.resumed(5.9, 6, 9.9, 10) == [[], ["r03"], [], ["r01"]]
    assert successor.is_settled


def test_a_successor_resumes_no_pause_that_was_resumed_by_hand_before_the_next_one() -> None:
    successor = Successor(TWICE_ONE, 4, [("pause r03", "r03"), ("resume r03", "r03"), ("pause r03", "r03")])

    assert successor.resumed(10, 11.9, 12) == [[], [], ["r03"]]
    assert successor.is_settled


def test_a_successor_has_nothing_to_end_when_all_pauses_are_over() -> None:
    over = [("pause r03", "r03"), ("resume r03", "r03")]

    assert Successor(TWICE_ONE, 2.5, over).is_settled
    assert Successor(EACH_TURN, 3.5, over).is_settled
    assert Successor("pause r03 @1s+2s; kill r01", 3.5, [("kill r01", "r01"), *over]).is_settled


def test_a_pause_that_failed_before_does_not_stand_for_a_later_one() -> None:
    # Given a robot that could not be paused in the first occurrence, and is paused since the second
    successor = Successor(EACH_TURN, 5, [("pause r03", "r03")])

    # Then it goes on when the second is over
    assert successor.resumed(5.9, 6) == [[], ["r03"]]


def test_a_pause_that_is_not_recorded_is_none() -> None:
    # Given an occurrence that was over, and one that the predecessor died before it recorded
    successor = Successor(EACH_TURN, 4, [("pause r03", "r03"), ("resume r03", "r03")])

    assert successor.is_settled
    assert successor.resumed(6) == [[]]


def test_what_is_resumed_by_hand_after_a_takeover_continues_at_once_and_only_then() -> None:
    successor = Successor("pause r03 @1s+9s; resume r03 @5s", 2, [("pause r03", "r03")])

    assert successor.resumed(5, 10) == [["r03"], []]


def test_the_end_of_a_pause_that_cannot_be_done_is_tried_again_and_holds_nothing_else_up() -> None:
    # Given two paused processes
    injection = FakeInjector()
    stage = Stage(injection)
    living = ("r01", "r04", "redis")
    stage.play("pause r01 @0s+1s", *living)
    stage.play("pause redis @0s+1s", *living, instance=1)
    # When the first cannot be reached, while the other's pause ends too and a kill is due
    injection.silent.add("r01")
    ends = [
        Due(number, 0, parse_line(f"pause {name} @0s+1s").fault, True) for number, name in enumerate(("r01", "redis"))
    ]
    stage.chaos.play([*ends, Due(2, 0, parse_line("kill r04").fault)], living)
    # Then these are done, and the first when it can be reached
    assert injection.done[2:] == [("resume", "redis"), ("kill", "r04")]
    assert not stage.chaos.is_settled
    injection.silent.clear()
    stage.chaos.play([], living)
    assert injection.done[4:] == [("resume", "r01")]
    assert stage.chaos.is_settled


def test_an_injection_of_unknown_outcome_is_recorded_once_and_done_to_the_same_process() -> None:
    # Given a fault whose victim is drawn, and cannot be reached
    injection = FakeInjector()
    injection.silent.update({"r01", "r02"})
    stage = Stage(injection)
    stage.play("kill robot", "r01", "r02")
    [(_, drawn)] = stage.recorded
    # When it is tried again, among others / Then it is recorded once, and done to the drawn one
    injection.silent.clear()
    stage.chaos.play([], ("r01", "r02", "r03"))
    assert stage.recorded == [("kill robot", drawn)]
    assert injection.done == [("kill", drawn)]
    assert [type(event) for event in stage.events] == [FaultInjected]
