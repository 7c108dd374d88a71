"""Whose time it was, and what is not known: messages that a partition held, slow merges, lost journals, dead robots,
pauses, and what kept a run going.
"""

from __future__ import annotations

import msgspec

from telemetry.events import (
    AnomalyBegan,
    EvidenceLost,
    ExchangeEnded,
    FaultInjected,
    InvariantViolated,
    MessageReceived,
    MessageSent,
    PlanChanged,
    RobotDisturbed,
    RobotQuiet,
    SecretWritten,
    SupervisorStalled,
)
from telemetry.explanations.about_robot import why_part, why_robot
from telemetry.explanations.about_run import why_run
from telemetry.explanations.explanation import Explanation
from telemetry.record.rows import LostRow, PlannedFault, PlanRow, QuietRow
from tests.telemetry.explanations.made_history import GO_MS, MadeRun

HOLD = "partition hold r00|r01"


def of_two() -> MadeRun:
    return MadeRun({0: ["r00"], 1: ["r01"]}, robots=2)


def texts_of(why: Explanation, title: str) -> list[str]:
    return [step.text for section in why.sections if section.title.startswith(title) for step in section.steps]


def reply(run: MadeRun, to: int) -> None:
    """The last message is a reply to that one of the other robot's first life."""
    for place in range(len(run.history.events) - 1, -1, -1):
        last = run.history.events[place]
        if isinstance(last.event, MessageSent):
            event = msgspec.structs.replace(last.event, cause=(1, to, 0))
            run.history.events[place] = msgspec.structs.replace(last, event=event)
            return


def test_a_summary_that_a_partition_held_is_named_as_the_cause_of_the_wait() -> None:
    # Given r01, whose summary a partition held for three seconds, before r00 could answer with part 0
    run = of_two()
    summary = run.sent(150, "r01", "r00", "summary", "aa", delay_ms=2850, faults=("delay 5ms", HOLD))
    run.sent(500, "r01", "r00", "summary", "bb", delay_ms=2490, faults=(HOLD,))
    run.taught(3005, "r00", "r01", 0, "aa")
    reply(run, summary)
    run.event(4000, "r01", SecretWritten(9, "memory"))
    index = run.index()
    # Then the path, the headline and the chain name that summary and the partition, and nothing else
    held = f"r01's summary of 0.150 s, which had to come first, was 2.85 s on its way ({HOLD})"
    late = f"1 exchange brought nothing by then, late by {HOLD}"
    [path] = [section for section in why_run(index, None).sections if section.title.startswith("from go")]
    assert path.steps[0].text == f" 3.00 s: r01 waited for part 0, which r00 held: {held}; {late}"
    assert held in why_run(index, None).answer
    assert held in texts_of(why_part(index, "r01", 0), "how part 0 came")


def test_what_a_teacher_had_sent_before_is_counted_and_not_taken_for_nothing() -> None:
    # Given r00, which sent r01 a summary without part 0 before the answer that brought it
    run = of_two()
    run.sent(50, "r00", "r01", "update", "zz")
    run.taught(300, "r00", "r01", 0, "aa")
    run.event(1500, "r01", SecretWritten(9, "memory"))
    # Then the wait shows that
    [first, *_] = texts_of(why_run(run.index(), None), "from go")
    assert first.endswith("which r00 held: 1 envelope that r00 had sent it since then did not bring it")


def test_the_time_that_a_robot_needed_to_merge_is_not_time_on_the_way() -> None:
    # Given r00, which received part 1 at once, and merged it 300 ms later, while a relay was paused
    run = of_two()
    run.injected(150, "pause", "relay:0")
    run.injected(4000, "resume", "relay:0")
    sequence = run.sent(100, "r01", "r00", "answer", "aa", delay_ms=5)
    run.event(106, "r00", MessageReceived("r01", 1, sequence, 0, "answer", "aa", 0, f"{GO_MS + 105}-0"))
    run.learnt(406, "r00", 1, ("r01", 1, sequence, 0))
    run.event(450, "lab", SupervisorStalled(300_000))
    run.event(1500, "r00", SecretWritten(9, "memory"))
    index = run.index()
    # Then the way was short and nothing is blamed on the relay
    [path] = [section for section in why_run(index, None).sections if section.title.startswith("from go")]
    assert [step.took_s for step in path.steps[1:3]] == [0.006, 0.3]
    assert "paused" not in path.steps[1].text
    assert path.steps[2].text == (
        " 300 ms: r00 had received it, and merged it only then; lab, the leader of the run, took no step from 0.150 s"
        " to 0.450 s, for 300 ms"
    )
    chain = texts_of(why_part(index, "r00", 1), "how part 1 came")
    assert chain[-1].endswith("6 ms on its way; r00 merged it only 300 ms after it had come")
    assert not any("paused" in step for step in chain)


def test_a_relay_that_decided_late_is_the_cause_and_not_the_delay_that_it_added() -> None:
    # Given a summary and an answer, of which the relay decided the first only after four seconds
    run = of_two()
    summary = run.sent(100, "r01", "r00", "summary", "aa", faults=("delay 5ms",), lag_ms=4000)
    run.taught(4110, "r00", "r01", 0, "aa")
    reply(run, summary)
    run.event(5200, "r01", SecretWritten(9, "memory"))
    index = run.index()
    # Then the wait and the robot's envelopes name the relay, and no fault
    lag = "because its relay decided its fate only 4.00 s after it was sent"
    [wait, *_] = texts_of(why_run(index, None), "from go")
    assert wait.endswith(f"r01's summary of 0.100 s, which had to come first, was 4.00 s on its way, {lag}")
    [sent] = [text for text in texts_of(why_robot(index, "r01"), "its exchanges") if "it sent" in text]
    assert sent == "of 1 envelope that it sent: 1 delivered over 200 ms late (its relay decided late)"


def test_a_quiet_period_has_only_its_own_confirmation() -> None:
    # Given r01, which was quiet before it was complete, was disturbed, and was quiet again, believing no peer alive
    run = of_two()
    run.event(1100, "r01", RobotQuiet(10))
    run.taught(3000, "r00", "r01", 0, "cc")
    run.event(3090, "r01", RobotDisturbed())
    run.event(3500, "r01", ExchangeEnded("r00", "dd", "timeout", 3, 200_000))
    run.event(4000, "r01", RobotQuiet(10))
    run.history.journals.append(QuietRow("r01", "1-9", 10, "", (GO_MS + 4000) * 1000))
    run.event(4001, "r01", SecretWritten(9, "memory"))
    index = run.index()
    # Then the first has no witness, the disturbance names the merge, and the second is the same in both answers
    alone = "believed no peer alive: of 1 exchange that it had begun and that were over, 1 got no answer"
    steps = texts_of(why_robot(index, "r01"), "when it was complete")
    assert steps[0] == "r01 was quiet: it had executed 10 ticks without news, but it was not complete yet"
    assert "what it had merged by 3.005 s ended its quiet period" in steps[2]
    assert steps[3].endswith(f"10 ticks without news, and {alone}")
    assert any(f"10 ticks without news, and {alone}" in text for text in texts_of(why_run(index, None), "from go"))


def lost_run() -> MadeRun:
    """r01 learnt part 0 from r00 and passed it on to r02; then its journal was removed."""
    run = MadeRun({0: ["r00"], 1: ["r01"], 2: ["r02"]}, robots=3)
    run.taught(20, "r02", "r01", 2, "zz")
    run.taught(30, "r00", "r01", 0, "aa")
    run.taught(50, "r01", "r02", 0, "bb")
    run.killed(60, "r01", 1, "amnesia")
    run.sent(80, "r00", "r01", "summary", "cc")
    run.history.journals[:] = [row for row in run.history.journals if row.robot != "r01"]
    run.event(110, "r01", EvidenceLost("journal"))
    run.history.journals.append(LostRow("r01"))
    return run


def test_a_robot_without_its_journal_is_followed_by_what_it_had_reported() -> None:
    index = lost_run().index()
    # Then the chain goes over it, and its own answer shows the teacher, and that it had been complete
    chain = texts_of(why_part(index, "r02", 0), "how part 0 came")
    assert chain[:2] == [
        "r00 was dealt part 0",
        "r01 learnt part 0 from r00, by an answer of exchange aa, 5 ms on its way",
    ]
    assert why_part(index, "r01", 0).answer == (
        "r01 learnt part 0 0.04 s after go, from r00, which was dealt it; its journal was lost since then (injected:"
        " amnesia r01)"
    )
    assert "it had reported 0.035 s after go that it held all 3 parts" in why_robot(index, "r01").answer


def test_what_came_to_a_dead_robot_was_not_delivered_to_it() -> None:
    [coming] = [
        text for text in texts_of(why_robot(lost_run().index(), "r01"), "its exchanges") if "sent to it" in text
    ]

    assert (
        coming == "of 3 envelopes that were sent to it: 2 delivered, 1 put into the inbox of r01 while it did not live"
    )


def test_what_removed_the_evidence_stands_first() -> None:
    unproven = {"state": "UNPROVEN", "why": "the journal of r01 was lost"}
    complete = {"state": "UNPROVEN", "why": "no journal shows whether r01 is complete"}
    verdict = {"verdict": "UNPROVEN", "promises": {"once": unproven, "convergent": complete}}

    why = why_run(lost_run().index(), verdict)

    assert "evidence was removed on purpose: amnesia of r01" in why.answer
    assert why.sections[0].title == "what was broken on purpose"
    assert "r01" in why.sections[0].steps[0].text
    assert any("it had reported" in text for text in texts_of(why, "convergent"))


def test_an_exhibit_stands_in_the_headline() -> None:
    run = of_two()
    run.history = msgspec.structs.replace(
        run.history, settings=msgspec.structs.replace(run.history.settings, exhibit="no-backoff")
    )

    why = why_run(run.index(), None)

    assert "broken on purpose, by the exhibit no-backoff" in why.answer
    assert texts_of(why, "what was broken on purpose") == ["the lab was broken on purpose, by the exhibit no-backoff"]


def test_a_plan_that_was_there_before_any_relay_has_the_time_of_its_report_or_none() -> None:
    # Given two plans without a time of their own, of which a relay reported one
    run = of_two()
    for faults in (("loss 0.2",), ("delay 5ms",)):
        planned = tuple(PlannedFault(number, fault) for number, fault in enumerate(faults))
        run.history.controls.append(PlanRow(0, "0-1", planned, "", "", ""))
    run.event(-1000, "relay:0", PlanChanged(0, (), ("loss 0.2",)))

    [happened] = [each for each in why_run(run.index(), None).sections if each.title == "what happened in the run"]

    times = {step.text: step.at_s for step in happened.steps}
    assert times["faults in force: loss 0.2"] == -1.0
    assert times["faults in force: delay 5ms"] is None


def test_a_heavy_loss_shows_what_arrived_and_never_that_all_failed() -> None:
    # Given r01, which hardly reaches r00; one summary arrived without a part
    run = of_two()
    for number in range(30):
        run.sent(20 + number, "r00", "r01", "summary", f"a{number}", "lost", faults=("loss 0.95 r01",))
    run.sent(900, "r01", "r00", "summary", "b0")
    for number in range(2):
        run.sent(910 + number, "r01", "r00", "summary", f"c{number}", "lost", faults=("loss 0.95 r01",))
    run.plan(1, "loss 0.95 r01")
    index = run.index()
    why = why_part(index, "r00", 1)
    # Then the counts stand there, attempts that ended alike are one step, and the answer names both sides
    [holder] = texts_of(why, "who holds part 1")
    assert "but over 99% of exchanges fail there (loss 0.95 r01)" in holder
    assert "0 of 30 envelopes from r00 to r01 arrived" in holder
    assert "1 of 3 envelopes from r01 to r00 arrived, but not with a part" in holder
    assert (
        "r00 began 30 exchanges with r01, first a0, the last at 0.049 s: the summary of r00 was lost each time"
        in (texts_of(why, "exchanges that did not bring it")[0])
    )
    assert "100%" not in "\n".join(why.lines())


def test_a_run_that_went_on_after_the_write_shows_what_kept_it_going() -> None:
    # Given a relay that was paused until long after the write, and r01, which was complete only then
    run = of_two()
    run.taught(100, "r01", "r00", 1, "aa")
    run.injected(200, "pause", "relay:0")
    run.event(260, "lab", FaultInjected("pause", "relay", "relay:0"))
    run.event(1500, "r00", SecretWritten(9, "memory"))
    run.event(2000, "lab", AnomalyBegan("stuck robot", "r01", "nothing new came"))
    run.event(2100, "lab", AnomalyBegan("stuck robot", "r02", "nothing new came"))
    run.injected(4100, "resume", "relay:0")
    run.event(4127, "lab", FaultInjected("resume", "relay:0", "relay:0"))
    run.taught(4300, "r00", "r01", 0, "bb")
    why = why_run(run.index(4800), None)
    # Then the pause is one span with the times of its events, and anomalies stand among what happened
    paused = "relay:0 was paused from 0.260 s to 4.127 s, for 3.87 s: its process stood still (injected: pause relay:0)"
    assert texts_of(why, "what kept the run going") == [
        paused,
        "r01 was complete only here, 2.81 s after the write (robots why r01 --part 0)",
    ]
    happened = texts_of(why, "what happened in the run")
    assert "anomaly: stuck robot: r01: nothing new came; also r02 at 2.100 s" in happened
    assert paused in happened


def test_a_violated_invariant_is_a_sentence_with_whole_numbers() -> None:
    run = of_two()
    detail = "came with another word or last mark than the known one"
    run.event(500, "r00", InvariantViolated("unique", detail, 0, "r01", 4_294_967_296, 7, 0))
    broken = {"state": "BROKEN", "why": "r00 accepted it"}

    why = why_run(run.index(), {"verdict": "BROKEN", "promises": {"unique": broken}})

    refused = "r00 refused part 0 of r01 (an injected contradiction), which breaks `unique`: "
    assert f"{refused}{detail}" in texts_of(why, "unique")


def test_incomplete_robots_are_all_named_and_those_alike_once() -> None:
    # Given three robots that lack the same, of which the judge names one
    run = MadeRun({0: ["r03"], 1: ["r00", "r01", "r02"]}, robots=4)
    cut = {"state": "UNPROVEN", "why": "cut off at the end: r00 and 2 more"}

    why = why_run(run.index(), {"verdict": "UNPROVEN", "promises": {"convergent": cut}})

    reason = "it sent no message at all until the run was stopped"
    assert texts_of(why, "convergent") == [
        "cut off at the end: r00 and 2 more",
        f"r00..r02 each lacks part 0 of 2; {reason}",
        f"r03 lacks part 1 of 2; {reason}",
    ]


def test_peers_that_mostly_do_not_answer_are_listed_with_the_rule() -> None:
    # Given r00, of which r01 answered 1 of 4 exchanges, and r02 2 of 4
    run = MadeRun({0: ["r00"], 1: ["r01"], 2: ["r02"]}, robots=3)
    for number, (one, other) in enumerate([("timeout", "timeout")] * 2 + [("timeout", "equal"), ("equal", "equal")]):
        run.event(100 + number, "r00", ExchangeEnded("r01", f"a{number}", one, 1, 1))  # type: ignore[arg-type]
        run.event(100 + number, "r00", ExchangeEnded("r02", f"b{number}", other, 1, 1))  # type: ignore[arg-type]

    assert texts_of(why_robot(run.index(), "r00"), "its exchanges") == [
        "of 8 exchanges that it began, 3 answered that both know the same, 5 got no answer",
        "peers with which at least 3 exchanges, and most of them, got no answer: r01 (3 of 4)",
    ]


def test_envelopes_with_one_fate_for_one_cause_are_counted_together() -> None:
    # Given three envelopes that a partition held, each with other faults beside it, and one that was lost
    run = of_two()
    for number, others in enumerate((("delay 5ms",), ("delay 5ms", "reorder 0.1"), ("duplicate 0.1",))):
        run.sent(100 + number, "r00", "r01", "summary", f"a{number}", delay_ms=2000, faults=(HOLD, *others))
    run.sent(200, "r00", "r01", "summary", "b0", "lost", faults=("loss 0.2", "delay 5ms"))

    assert texts_of(why_robot(run.index(), "r00"), "its exchanges")[-1] == (
        f"of 4 envelopes that it sent: 3 delivered over 200 ms late ({HOLD}), 1 lost (loss 0.2)"
    )
