"""What a run can never do of its plan is known before it begins; what is a matter of the moment is not."""

from __future__ import annotations

import pytest

from broker.faults.feasible import Lab, RunFacts, line_problem, plan_problems
from broker.faults.grammar import parse_lines
from broker.faults.schedule import timed
from broker.faults.scheduler import PlanScheduler

SECOND = 1_000_000
LABS: tuple[Lab, ...] = ("run", "guest", "cluster", "simulation")


def problems(text: str, lab: Lab = "run") -> list[str]:
    """Of a plan for six robots, of which r05 was dealt nothing, with two relays, for 20 to 30 seconds."""
    facts = RunFacts(6, 2, 20 * SECOND, 30 * SECOND, frozenset(range(5)), lab)
    return plan_problems(timed(parse_lines(text)), facts)


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kill r99", "r99 is none of the robots; they are r00 to r05"),
        ("kill rq:r06", "r06 is none of the robots"),
        ("crash r06/secret_merger", "r06 is none of the robots"),
        ("loss .5 r06", "r06 is none of the robots"),
        ("partition r00|r04..r07", "r07 is none of the robots"),
        ("contradict r05", "r05 is dealt no part that could be contradicted; dealt some are r00, r01"),
        ("loss .5 r03>r03", "no robot sends to itself"),
        ("partition r03|r03 @1s+1s", "no robot sends to itself"),
        ("partition r3,r03..r03|r3|r003 @1s+1s", "no robot sends to itself"),
        ("kill r01 @30s", "it would begin 30.0 s after go, when the run is over: --limit is 30s"),
        ("loss .5 @31s+1s", "when the run is over"),
        ("heal @40s", "when the run is over"),
        ("kill robot @20s every 1s", "it would come again only until --for"),
        ("kill r01 @5s; heal @5s", "the heal at the same time ends it"),
        ("loss .5 @5s+1s; heal @5s", "the heal at the same time ends it"),
    ],
)
def test_what_no_lab_can_do_is_a_problem_in_one_line_that_begins_with_the_fault(lab: Lab, text: str, why: str) -> None:
    [problem] = problems(text, lab)

    assert why in problem
    assert problem.startswith(f"'{text.split()[0]} ")
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("text", "unable"),
    [
        ("kill supervisor", ("run", "guest", "simulation")),
        ("kill redis", ("guest", "cluster")),
        ("restart redis", ("guest", "cluster")),
        ("pause redis @1s+1s; resume redis @1500ms", ("guest", "cluster")),
        ("kill relay", ("cluster",)),
        ("restart relay:1", ("cluster",)),
        ("kill relay:2", LABS),
        ("pause rq:r00 @1s+1s", ("cluster", "simulation")),
        ("kill rq:r00; restart rq:r00", ()),
        ("resume r00 @5s", ("simulation",)),
        ("pause r00 @1s+2s; resume r00 @5s", ("simulation",)),
        ("pause robot @1s+9s; resume r00 @5s", ()),
        ("pause r00 @1s+2s every 5s; resume r00 @7s", ()),
    ],
)
def test_what_a_lab_cannot_reach_is_a_problem_there_and_only_there(text: str, unable: tuple[Lab, ...]) -> None:
    assert tuple(lab for lab in LABS if problems(text, lab)) == unable


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize(
    "text",
    [
        "kill robot every 500ms; amnesia r05; restart r05 @29s; crash r05/secret_merger",
        "pause r01 @9s+5s; pause r01 @10s+1s; kill r01 @9500ms; kill r01 @9500ms",
        "loss .5 r00..r02>r02; partition r00..r02|r02..r05 @1s+1s; partition r00..r05|r00..r05 @3s+1s",
        "contradict r04 @29s; heal @5s; loss .2 @5s+1s",
    ],
)
def test_what_depends_on_the_moment_is_no_problem(lab: Lab, text: str) -> None:
    assert problems(text, lab) == []


def test_what_is_not_known_is_no_problem() -> None:
    lines = parse_lines("contradict r05; kill supervisor; kill redis; pause rq:r00 @99s+1s; resume r00 @99s")

    assert [line_problem(line, 99 * SECOND, RunFacts(6, 1)) for line in lines] == [None] * len(lines)


def test_a_request_that_the_run_can_never_do_is_refused_and_changes_nothing() -> None:
    # Given the scheduler of a run on a server that is not its own
    lead = PlanScheduler(timed(parse_lines("loss 0.2")), 60 * SECOND)
    facts = RunFacts(6, 1, 60 * SECOND, 90 * SECOND, frozenset(range(5)), "guest")
    # When something is requested of which it can do only a part, or which would begin when the run is over
    unable = lead.answer("1-0", "set kill r01; kill redis", 5 * SECOND, facts)
    late = lead.answer("2-0", "set loss .9 @30s+1s", 60 * SECOND, facts)
    # Then it is refused with the reason, and none of it happens
    assert unable.refusal == "'kill redis @0s': the server is not the lab's own; without --redis-url it is"
    assert late.refusal.startswith("'loss 0.9 @30s+1s': it would begin 90.0 s after go, when the run is over")
    assert unable.faults == late.faults == lead.first.faults
    assert lead.due_faults(90 * SECOND) == []
    # And what it can do is done
    assert lead.answer("3-0", "set kill r01", 60 * SECOND, facts).refusal == ""
    assert [due.fault.text() for due in lead.due_faults(91 * SECOND)] == ["kill r01"]
