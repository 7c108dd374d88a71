"""Why a robot knows a part, or lacks it: the chain from its dealt holder, and every exchange that failed."""

from __future__ import annotations

from telemetry.events import MessageSent
from telemetry.explanations.about_robot import why_part
from telemetry.explanations.explanation import Explanation
from tests.telemetry.explanations.made_history import MadeRun


def texts_of(why: Explanation, title: str) -> list[str]:
    """The steps of the section of that title."""
    return [step.text for section in why.sections if section.title == title for step in section.steps]


def test_a_part_is_followed_from_its_dealt_holder_to_the_robot() -> None:
    # Given three robots, and part 0 that went from r02 over r01 to r00
    run = MadeRun({0: ["r02"], 1: ["r00"]}, robots=3)
    run.taught(100, "r02", "r01", 0, "aa")
    run.taught(300, "r01", "r00", 0, "bb", faults=("delay 5ms",))
    # When one asks why r00 knows it
    why = why_part(run.index(), "r00", 0)
    # Then each hop stands there, with its time, its exchange and its faults
    assert why.answer == (
        "r00 learnt part 0 0.30 s after go, from r01; it came from r02, which was dealt it, over 1 other robot"
    )
    [chain] = why.sections
    assert [(step.at_s, step.text, step.exchange, step.faults) for step in chain.steps] == [
        (0.0, "r02 was dealt part 0", "", ()),
        (0.105, "r01 learnt part 0 from r02, by an answer of exchange aa, 5 ms on its way", "aa", ()),
        (
            0.305,
            "r00 learnt part 0 from r01, by an answer of exchange bb, 5 ms on its way (delay 5ms)",
            "bb",
            ("delay 5ms",),
        ),
    ]


def test_what_was_lost_and_who_died_in_between_stands_in_the_chain() -> None:
    # Given r01, which was dealt part 0; two exchanges with it failed, and it was killed once
    run = MadeRun({0: ["r01"], 1: ["r00"]}, robots=2)
    run.sent(20, "r00", "r01", "summary", "aa", "lost", faults=("loss 0.2",))
    run.killed(50, "r01", 1)
    run.born(110, "r01", 2)
    run.sent(150, "r00", "r01", "summary", "bb")
    run.sent(160, "r01", "r00", "answer", "bb", "corrupt", faults=("delay 5ms", "corrupt 0.1"))
    run.taught(200, "r01", "r00", 0, "cc")
    # Then the chain shows all that, in the order of time of each hop
    [chain] = why_part(run.index(), "r00", 0).sections
    texts = [step.text for step in chain.steps]
    assert texts[1:5] == [
        "r00 began exchange aa with r01: its summary was lost (loss 0.2)",
        "r01/1 was killed by signal 9 (injected: kill r01)",
        "r01 lived again, as life 2, after 60 ms; its journal kept part 0",
        "r00 began exchange bb with r01: r01's answer came damaged, and was refused (corrupt 0.1)",
    ]
    assert texts[5].startswith("r00 learnt part 0 from r01")


def test_a_part_that_a_robot_was_dealt_needs_no_chain() -> None:
    run = MadeRun({0: ["r00"], 1: ["r01"]}, robots=2)

    assert why_part(run.index(), "r00", 0).answer == "r00 was dealt part 0"


def test_a_part_that_is_lacking_names_every_attempt_and_the_fault_that_ended_it() -> None:
    # Given r00, which lacks part 1: a summary, an answer and an update were lost, and one summary is held
    run = MadeRun({0: ["r00"], 1: ["r01"]}, robots=2)
    for again in range(3):
        run.sent(20 + again, "r00", "r01", "summary", "aa", "lost", faults=("loss 0.9",))
    run.sent(100, "r00", "r01", "summary", "bb")
    run.sent(110, "r01", "r00", "answer", "bb", "lost", faults=("burst-loss 0.2 5",))
    run.sent(200, "r01", "r00", "summary", "cc")
    run.sent(210, "r00", "r01", "answer", "cc")
    run.sent(220, "r01", "r00", "update", "cc", "lost", faults=("loss 0.9",))
    run.plan(250, "partition hold r00|r01")
    run.event(300, "r00", MessageSent("r01", 99, "summary", "dd", 0, 9, 0))
    why = why_part(run.index(), "r00", 1)
    # Then all four are told, each with how far it came
    assert texts_of(why, "exchanges that did not bring it") == [
        "r00 began exchange aa with r01: its summary was lost, all 3 times (loss 0.9)",
        "r00 began exchange bb with r01: r01's answer was lost (burst-loss 0.2 5)",
        "r01 began exchange cc with r00: its update was lost (loss 0.9)",
        "r00 began exchange dd with r01: its summary was held back until the end (partition hold r00|r01)",
    ]
    # and who holds it, and what lies between them at the end
    assert texts_of(why, "who holds part 1") == [
        "r01 was dealt it; at the end nothing passed between them (partition hold r00|r01), and no robot could pass it"
        " on"
    ]
    assert "nothing passes between it and its holder r01 (partition hold r00|r01)" in why.answer


def test_a_holder_that_is_reached_over_another_robot_is_shown() -> None:
    run = MadeRun({0: ["r00"], 1: ["r01"], 2: ["r02"]}, robots=3)
    run.plan(1, "partition r00>r01")

    why = why_part(run.index(), "r00", 1)

    assert texts_of(why, "who holds part 1") == [
        "r01 was dealt it; at the end nothing from r00 reached r01 (partition r00>r01); r02 could pass it on"
    ]


def test_an_answer_that_a_dead_robot_did_not_send_is_explained_by_its_death() -> None:
    run = MadeRun({0: ["r00"], 1: ["r01"]}, robots=2)
    run.killed(50, "r01", 1)
    run.sent(100, "r00", "r01", "summary", "aa")
    run.born(400, "r01", 2)

    why = why_part(run.index(), "r00", 1)

    assert texts_of(why, "exchanges that did not bring it") == [
        "r00 began exchange aa with r01: r01 was dead for 350 ms, and sent no answer"
    ]


def test_a_run_that_goes_on_is_explained_as_far_as_it_came() -> None:
    run = MadeRun({0: ["r00"], 1: ["r01"]}, robots=2)
    run.sent(20, "r00", "r01", "summary", "aa", "lost", faults=("loss 0.2",))

    why = why_part(run.index(stop_ms=None), "r00", 1)

    assert why.answer == "r00 lacks part 1: so far, 1 exchange between r00 and those that held it failed, by loss 0.2"
