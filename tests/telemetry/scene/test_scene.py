"""A scene grows with the events of a run; a copy of it goes its own way."""

from __future__ import annotations

from telemetry.events import (
    EvidenceLost,
    FatesDecided,
    InvariantViolated,
    MessageReceived,
    MessageRepeated,
    MessageSent,
    PartsMerged,
    RobotBorn,
    RobotComplete,
    RobotFenced,
    RobotQuiet,
    SecretRefused,
    SecretWritten,
    ServerForgot,
)
from telemetry.scene.scene import Scene
from tests.support.scenes import GO_US, MadeScene, played


def counts_of(scene: Scene) -> tuple[object, ...]:
    """What can be seen of it."""
    traffic = {name: (each.sent, each.received, each.per_second) for name, each in scene.traffic.robots.items()}
    return (
        scene.view,
        scene.seen,
        list(scene.events),
        list(scene.curve.samples),
        scene.teaching.lessons,
        scene.network.total,
        scene.network.lately(scene.now_us, 5_000_000),
        scene.faults.plans,
        scene.lifelines.lines,
        list(scene.facts),
        traffic,
    )


def test_a_copy_does_not_see_what_the_other_goes_on_to_see() -> None:
    # Given a run until half of its time, and a copy
    run = played()
    scene = run.until(1.5)
    before = counts_of(scene)
    copy = scene.copy()
    # When the copy goes on to the end
    for stamped in run.events[scene.seen :]:
        copy.handle(stamped)
    # Then the first is as it was, and the other as if it had seen all
    assert counts_of(scene) == before
    assert counts_of(copy) == counts_of(run.until(1e6))


def test_what_only_counts_is_counted() -> None:
    lab = MadeScene({0: ["r00"], 1: ["r01"]}, robots=2)
    for number in range(3):
        lab.event(100 + number, "r00", MessageSent("r01", number, "summary", "1f", 2, 40, 5))
        lab.event(1200, "r01", MessageReceived("r00", 1, number, 0, "summary", "1f", 0, "1-1"))
    lab.event(1300, "r01", MessageRepeated("r00", 1, 1, 0))

    r00, r01 = lab.scene.traffic.of("r00"), lab.scene.traffic.of("r01")
    assert (r00.sent, r00.parts_sent) == (3, 6)
    assert (r01.received, r01.repeated) == (3, 1)
    assert r01.received_lately(GO_US + 2_000_000, 3) == [0, 3, 0]
    assert r01.last_us == GO_US + 1_300_000


def test_what_was_lost_lately_is_that_of_the_last_seconds() -> None:
    lab = MadeScene({0: ["r00"], 1: ["r01"]}, robots=2)
    for at_ms, lost in ((100, 10), (6000, 3), (9000, 2)):
        lab.event(at_ms, "relay:0", FatesDecided(0, 10, lost, 0, 0, 0, 0, 0, 10 - lost, 0, 0, 5))

    network = lab.scene.network
    assert (network.total.offered, network.total.lost) == (30, 15)
    assert network.lately(GO_US + 9_000_000, 5_000_000).lost == 5
    assert network.lately(GO_US + 9_000_000, 1_000_000).lost == 2


def facts(lab: MadeScene) -> dict[str, tuple[str, str]]:
    return {fact.promise: (fact.text, fact.tone) for fact in lab.scene.facts}


def test_facts_speak_against_a_promise_only_where_something_did() -> None:
    # Given a run in which all went well
    lab = MadeScene({0: ["r00"], 1: ["r01"]}, robots=2)
    for robot, part in (("r00", 1), ("r01", 0)):
        lab.event(100, robot, PartsMerged("r01", 1, 1, 0, (part,), 2))
        lab.event(100, robot, RobotComplete(2))
        lab.event(600, robot, RobotQuiet(5))
    lab.event(700, "r00", SecretWritten(9, "memory"))
    lab.event(710, "r01", SecretRefused())
    # Then nothing speaks against a promise
    assert not [promise for promise, (_, tone) in facts(lab).items() if tone == "bad"]
    assert facts(lab)["once"] == ("written by r00, 1 later attempt refused", "good")
    assert facts(lab)["convergent"] == ("2 of 2 robots complete", "good")
    # When a second write is reported, a part is learnt again, and a life begins with less
    lab.event(800, "r01", SecretWritten(9, "memory"))
    lab.event(810, "r00", PartsMerged("r01", 1, 2, 0, (1,), 2))
    lab.event(900, "r01", RobotBorn(1, 1), incarnation=2)
    lab.event(910, "r01", SecretRefused(), incarnation=2)
    # Then that is said, of these promises alone
    bad = {promise: text for promise, (text, tone) in facts(lab).items() if tone == "bad"}
    assert bad == {
        "once": "r00, r01 report an accepted write",
        "monotonic": "r01 held less than before",
        "idempotent": "learnt a second time: 1 part",
        "patient": "r01 tried to write, and was not quiet",
    }


def test_facts_name_what_robots_met() -> None:
    lab = MadeScene({0: ["r00"], 1: ["r01"]}, robots=2)
    lab.event(100, "r00", InvariantViolated("unique", "another word", 1, "r01", 1, 3, 0))
    lab.event(200, "r01", RobotFenced("journal"))

    assert facts(lab)["unique"] == ("r00 refused another word for part 1", "")
    assert facts(lab)["fenced"] == ("r01/1 found a later life, and ended", "")
    assert facts(lab)["supervised"] == ("dead for good: r01", "")


def test_evidence_that_is_gone_is_named() -> None:
    lab = MadeScene({0: ["r00"], 1: ["r01"]}, robots=2)
    lab.event(100, "r01", EvidenceLost("journal"))
    lab.event(200, "lab", ServerForgot("fates"))

    assert facts(lab)["monotonic"] == ("the journal of r01 is gone", "bad")
    assert facts(lab)["accounted"] == ("the server came back without some of what it had stored", "bad")
