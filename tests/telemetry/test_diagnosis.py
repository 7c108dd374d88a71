"""Why a run makes no progress: each cause is named in one line, and reported once."""

from __future__ import annotations

import pytest

from telemetry.diagnosis.causes import Diagnosis, diagnose
from telemetry.diagnosis.stalls import STALLED_TICKS, StallWatch
from telemetry.events import (
    AnyEvent,
    EvidenceLost,
    FaultInjected,
    PartsMerged,
    PlanChanged,
    RelayMissing,
    RelayResumed,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotLeft,
    RobotQuiet,
    RobotWaiting,
    RunDealt,
    RunHeldBack,
    RunStarted,
    RunStopped,
    SecretWritten,
    ServerForgot,
    Stamped,
    WorkerCrashed,
    WorkerGaveUp,
    WorkerStarted,
)
from telemetry.explanations.links import Links
from telemetry.view import View, fold

HOLDERS = {0: ("r00",), 1: ("r01",), 2: ("r02",)}
"""Three robots with a part each."""


def seen(*events: tuple[str, AnyEvent], begun: bool = True, born: int = 3) -> View:
    """The view of a run of three robots after these events, each with its source."""
    before: list[tuple[str, AnyEvent]] = [("lab", RunDealt(3, 3))]
    before += [(f"r{number:02d}", RobotBorn(1, 0)) for number in range(born)]
    before += [("lab", RunStarted(born))] * begun
    view = View()
    for number, (source, event) in enumerate((*before, *events), start=1):
        view = fold(view, Stamped("f00000", source, 1, number, number, number, event))
    return view


def merged(robot: str, *parts: int) -> tuple[str, AnyEvent]:
    return robot, PartsMerged("r09", 1, 1, 0, parts, 1 + len(parts))


def complete(robot: str) -> list[tuple[str, AnyEvent]]:
    others = [part for part in HOLDERS if HOLDERS[part] != (robot,)]
    return [merged(robot, *others), (robot, RobotComplete(3))]


def plan(*faults: str) -> tuple[str, AnyEvent]:
    return "relay:0", PlanChanged(0, (), faults)


def causes(*events: tuple[str, AnyEvent], begun: bool = True, born: int = 3) -> list[str]:
    return [cause.text for cause in diagnose(seen(*events, begun=begun, born=born), HOLDERS, Links)]


def test_a_healthy_run_and_one_that_is_done_have_no_cause() -> None:
    assert causes() == []
    assert causes(plan("loss 0.4")) == []
    everything = [*complete("r00"), *complete("r01"), *complete("r02"), ("r00", SecretWritten(9, "memory"))]
    assert causes(*everything, plan("partition r00|r01,r02")) == []


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([("r02", EvidenceLost("journal"))], "no living robot holds part 2: its sole holder r02 lost its journal"),
        (
            [("r02", WorkerGaveUp("r02", 5))],
            "no living robot holds part 2: its sole holder r02 died too often, and is not started again",
        ),
        (
            [("r02", RobotFenced("journal"))],
            "no living robot holds part 2: its sole holder r02 was ended by a later life of its own, which has not"
            " reported yet",
        ),
        ([("lab", RobotWaiting("r02", (2,)))], "r02 waits for an RQ worker; only it holds part 2"),
        ([("lab", FaultInjected("pause", "r02", "r02"))], "r02 is paused; only it holds part 2"),
        ([("r02", RobotLeft("complete"))], "r02 has left; only it holds part 2"),
        ([("r02", RobotLeft("recalled"))], "r02 died, and its next life is not born yet; only it holds part 2"),
    ],
    ids=["journal", "budget", "fenced", "waiting", "paused", "left", "away"],
)
def test_a_part_whose_only_holder_is_absent_is_named_with_the_reason(
    events: list[tuple[str, AnyEvent]], text: str
) -> None:
    assert causes(*events)[0] == text


def test_the_parts_of_one_holder_stand_together_and_several_holders_each_with_its_state() -> None:
    # Given r02, which holds part 1 as well, and dies like r01
    lost = [merged("r02", 1), ("r02", EvidenceLost("journal")), ("lab", RobotWaiting("r01", ()))]

    assert causes(*lost) == [
        "no living robot holds part 1: r01 waits for an RQ worker, r02 lost its journal",
        "no living robot holds part 2: its sole holder r02 lost its journal",
    ]


def test_a_holder_that_was_never_born_is_named() -> None:
    assert causes(born=2) == ["r02 was never born; only it holds part 2"]
    assert causes(("lab", RobotWaiting("r02", (2,))), born=2) == [
        "r02 waits for an RQ worker, and was never born; only it holds part 2"
    ]
    assert causes(begun=False, born=2) == ["the run has not begun: r02 is not born yet (each needs an RQ worker)"]


def test_no_part_is_called_gone_when_events_of_a_living_robot_are_missing() -> None:
    # Given r00, which holds two parts by its own count, and the event of one is missing
    counted = ("r00", PartsMerged("r02", 1, 1, 0, (), 2))

    assert causes(counted, ("r02", EvidenceLost("journal"))) == []


@pytest.mark.parametrize(
    ("fault", "texts"),
    [
        (
            "partition r00|r01,r02",
            [
                "r00 lacks parts 1, 2, and nothing passes between it and their holders r01, r02"
                " (partition r00|r01,r02)",
                "r01, r02 lack part 0, and nothing passes between them and its holder r00 (partition r00|r01,r02)",
            ],
        ),
        (
            "partition hold r00>r01,r02",
            [
                "r00 lacks parts 1, 2, and nothing reaches their holders r01, r02 from it, and an exchange needs both"
                " directions (partition hold r00>r01,r02)",
                "r01, r02 lack part 0, and nothing from its holder r00 reaches them (partition hold r00>r01,r02)",
            ],
        ),
        (
            "loss 1 r00",
            [
                "r00 lacks parts 1, 2, and nothing passes between it and their holders r01, r02 (loss 1 r00)",
                "r01, r02 lack part 0, and nothing passes between them and its holder r00 (loss 1 r00)",
            ],
        ),
    ],
)
def test_robots_that_cannot_reach_the_holders_are_named_with_the_fault(fault: str, texts: list[str]) -> None:
    assert causes(plan(fault)) == texts


def test_a_way_over_another_robot_is_no_cut() -> None:
    assert causes(plan("partition r00|r01")) == []


def test_a_heavy_loss_is_named_for_the_robots_that_lack_something() -> None:
    assert causes(*complete("r00"), *complete("r01"), plan("loss 0.9", "corrupt 0.5"))[0] == (
        "r02 lacks parts 0, 1: over 99% of the attempts to exchange with their holders fail (loss 0.9, corrupt 0.5)"
    )
    assert causes(plan("loss 0.7")) == [
        "r00..r02 lack some of parts 0..2: 91% of the attempts to exchange with their holders fail (loss 0.7)"
    ]


def test_a_complete_robot_without_a_confirmation_is_explained() -> None:
    # Given r00, which is complete, and whose messages never arrive
    assert causes(*complete("r00"), plan("partition r00>r01,r02"))[-1] == (
        "r00 is complete and waits for a peer's confirmation: nothing it sends arrives (partition r00>r01,r02)"
    )
    # or to which nothing comes
    assert causes(*complete("r00"), plan("partition r01,r02>r00"))[-1] == (
        "r00 is complete and waits for a peer's confirmation: nothing arrives at it (partition r01,r02>r00)"
    )
    # or that is the only one
    assert causes(*complete("r00")) == [
        "r00 is complete and waits for a peer's confirmation: no other robot is complete"
    ]
    # When it is quiet it waits no longer
    assert causes(*complete("r00"), ("r00", RobotQuiet(10))) == []


def test_what_does_not_run_is_named() -> None:
    crashed = ("r01", WorkerCrashed("outbox_writer", "error"))
    missing = ("lab", RelayMissing(1))

    assert causes(crashed) == ["r01's outbox_writer crashed, and has not been started again since"]
    assert causes(crashed, ("r01", WorkerStarted("outbox_writer"))) == []
    assert causes(missing) == ["shard 1 has no relay: what is sent there waits (robots relay)"]
    assert causes(missing, ("relay:1", RelayResumed(1, 0))) == []
    assert causes(("lab", ServerForgot("events"))) == [
        "the server came back without some of what it had stored: the run is lost"
    ]


class Watched:
    """A watch on a run with a tick of 100 ms, of which the causes are given."""

    def __init__(self) -> None:
        self.causes: list[Diagnosis] = []
        self.watch = StallWatch(lambda _view: self.causes, 100_000)
        self.view = seen()

    def at(self, ticks: int) -> list[str]:
        return self.watch.observe(self.view, ticks * 100_000)


def test_a_cause_is_reported_once_when_nothing_was_learnt_for_twenty_ticks() -> None:
    # Given a cause from the beginning
    watched = Watched()
    watched.causes = [Diagnosis("a", "because of a")]
    # Then it is reported after twenty ticks without progress, and never again
    lines = {ticks: watched.at(ticks) for ticks in range(1, 100)}
    assert {ticks: found for ticks, found in lines.items() if found} == {
        1 + STALLED_TICKS: ["no progress for 2.00 s: because of a"]
    }
    # When there is another one later, it is reported, too
    watched.causes = [Diagnosis("a", "because of a"), Diagnosis("b", "because of b")]
    assert watched.at(200) == ["no progress for 19.90 s: because of b"]


def test_progress_and_an_absent_server_begin_the_time_anew() -> None:
    watched = Watched()
    watched.causes = [Diagnosis("a", "because of a")]
    watched.at(1)
    watched.view = seen(merged("r00", 1))
    assert watched.at(20) == []
    watched.watch.forget(3_000_000)
    assert watched.at(49) == []
    assert watched.at(50) == ["no progress for 2.00 s: because of a"]


def test_a_robot_that_becomes_quiet_makes_progress_if_it_lacks_nothing() -> None:
    # Given a standstill, in which a robot becomes quiet after ten ticks
    for events, at_tick in (([], STALLED_TICKS), (complete("r00"), 10 + STALLED_TICKS)):
        watched = Watched()
        watched.causes = [Diagnosis("a", "because of a")]
        watched.view = seen(*events)
        watched.at(0)
        watched.view = seen(*events, ("r00", RobotQuiet(10)))
        # Then the time begins anew only when that robot lacked nothing
        assert next(ticks for ticks in range(10, 100) if watched.at(ticks)) == at_tick


def test_the_causes_stand_until_there_is_progress_and_again_when_they_come_back() -> None:
    # Given a standstill whose cause was reported
    watched = Watched()
    watched.causes = [Diagnosis("a", "because of a")]
    watched.at(0)
    watched.at(20)
    assert watched.watch.standing == ("no progress for 2.00 s: because of a",)
    # When there is progress, it is gone
    watched.view = seen(merged("r00", 1))
    assert (watched.at(21), watched.watch.standing) == ([], ())
    # When the run stands still again for the same cause, it is not reported again, but stands
    assert (watched.at(41), watched.watch.standing) == ([], ("no progress for 2.00 s: because of a",))
    # When the server does not answer, nothing is known
    watched.watch.forget(4_200_000)
    assert watched.watch.standing == ()


def test_many_causes_take_a_few_lines() -> None:
    watched = Watched()
    watched.causes = [Diagnosis(str(number), f"because of {number}") for number in range(9)]
    watched.at(0)
    assert len(watched.at(20)) == 4
    assert watched.at(40) == []


def test_two_sides_that_hardly_reach_each_other_are_one_cause_and_named_with_the_fault_between_them() -> None:
    [cause] = diagnose(seen(plan("loss 0.2", "loss 0.95 r02")), HOLDERS, Links)

    assert cause.text == (
        "r02 and r00, r01 hardly reach each other: over 99% of the attempts fail (loss 0.95 r02); r02 lacks parts 0, 1;"
        " r00, r01 lack part 2"
    )
    assert (cause.robots, cause.parts) == (("r02", "r00", "r01"), (0, 1, 2))


def test_a_run_that_is_held_back_has_that_one_cause_until_it_begins() -> None:
    # Given a run whose robots are born, and that waits for a person
    held_back = seen(("lab", RunHeldBack(3)), begun=False)

    # Then that is the whole cause, until go or the end comes
    assert [cause.key for cause in diagnose(held_back, HOLDERS, Links)] == ["held back"]
    assert not seen(("lab", RunHeldBack(3)), ("lab", RunStarted(3)), begun=False).is_held_back
    assert not seen(("lab", RunHeldBack(3)), ("lab", RunStopped("interrupted")), begun=False).is_held_back
    # and a robot that was not born yet is named beside it
    causes = diagnose(seen(("lab", RunHeldBack(2)), begun=False, born=2), HOLDERS, Links)
    assert [cause.key for cause in causes] == ["held back", "births"]


def test_time_in_which_a_run_was_held_back_is_no_time_without_progress() -> None:
    # Given a cause, in a run that is held back for a minute
    watched = Watched()
    watched.causes = [Diagnosis("a", "because of a")]
    watched.view = seen(("lab", RunHeldBack(3)), begun=False)
    assert [line for ticks in range(600) for line in watched.at(ticks)] == []

    # When it begins, and nothing is learnt
    watched.view = seen(("lab", RunHeldBack(3)), ("lab", RunStarted(3)), begun=False)
    lines = {ticks: watched.at(ticks) for ticks in range(600, 630)}

    # Then the time counts from there
    assert {ticks: found for ticks, found in lines.items() if found} == {
        600 + STALLED_TICKS: ["no progress for 2.00 s: because of a"]
    }
