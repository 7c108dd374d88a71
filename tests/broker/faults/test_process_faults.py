"""Faults of processes as data: what is printed reads back, each is handed out once, and every pause ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.faults.grammar import Line, When, lines_of, parse_fault, parse_line, parse_lines
from broker.faults.process_faults import (
    WORKERS,
    Amnesia,
    Contradict,
    Crash,
    Kill,
    Pause,
    ProcessFault,
    ProcessTarget,
    Restart,
    Resume,
)
from broker.faults.schedule import amend, timed
from broker.faults.scheduler import Clear, PlanScheduler, is_short, parse_request
from broker.faults.syntax import PlanSyntaxError
from broker.faults.target import parse_target

SECOND = 1_000_000

NUMBER = st.integers(0, 9_999_999)
ROBOT = st.builds(ProcessTarget, st.just("robot"), NUMBER)
RELAY = st.builds(ProcessTarget, st.just("relay"), st.one_of(st.none(), NUMBER))
ANYBODY = st.one_of(
    ROBOT,
    RELAY,
    st.builds(ProcessTarget, st.just("rq"), NUMBER),
    st.builds(ProcessTarget, st.sampled_from(["robot", "redis", "supervisor"])),
)
SUPERVISED = ANYBODY.filter(lambda victim: victim.kind != "supervisor")
TIME_US = st.integers(0, 10**11)
EVERY_US = st.one_of(st.none(), st.integers(10_000, 10**11))
MOMENTARY = st.one_of(
    st.builds(Kill, ANYBODY),
    st.builds(Restart, SUPERVISED),
    st.builds(Resume, SUPERVISED.filter(lambda victim: not victim.is_any)),
    st.builds(Crash, ROBOT, st.sampled_from(WORKERS)),
    st.builds(Contradict, ROBOT),
    st.builds(Amnesia, ROBOT),
)
LINES = st.one_of(
    st.builds(Line, MOMENTARY, st.builds(When, TIME_US, st.none(), EVERY_US)),
    st.builds(
        lambda victim, start, last, gap: Line(
            Pause(victim), When(start, last + 1, None if gap is None else last + 1 + gap)
        ),
        *(SUPERVISED, TIME_US, TIME_US, EVERY_US),
    ),
)


def scheduler(text: str, for_s: float = 0) -> PlanScheduler:
    return PlanScheduler(timed(parse_lines(text)), round(for_s * SECOND))


def injections(lead: PlanScheduler, now_s: float) -> list[str]:
    """The texts of what is due, with the occurrence where there are more; `end of` marks the end of a pause."""
    return [described(due) for due in lead.due_faults(round(now_s * SECOND))]


def described(due) -> str:
    return ("end of " if due.is_end else "") + due.fault.text() + (f" #{due.occurrence}" if due.occurrence else "")


# Grammar.


@given(LINES)
def test_what_is_printed_reads_back_as_exactly_that(line: Line) -> None:
    assert parse_line(line.text()) == line
    assert parse_request(f"clear {line.fault.text()}") == Clear(line.fault)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("kill r3", Line(Kill(ProcessTarget("robot", 3)), When(0))),
        ("kill robot every 500ms", Line(Kill(ProcessTarget("robot")), When(0, None, 500_000))),
        ("kill rq:r003 @2s", Line(Kill(ProcessTarget("rq", 3)), When(2 * SECOND))),
        ("pause relay:1 @9s+5s", Line(Pause(ProcessTarget("relay", 1)), When(9 * SECOND, 5 * SECOND))),
        ("pause r1 @1s+1s every 3s", Line(Pause(ProcessTarget("robot", 1)), When(SECOND, SECOND, 3 * SECOND))),
        ("restart redis", Line(Restart(ProcessTarget("redis")), When(0))),
        ("restart relay @3s every 4s", Line(Restart(ProcessTarget("relay")), When(3 * SECOND, None, 4 * SECOND))),
        ("restart r3 @2s", Line(Restart(ProcessTarget("robot", 3)), When(2 * SECOND))),
        ("restart robot every 1s", Line(Restart(ProcessTarget("robot")), When(0, None, SECOND))),
        ("restart rq:r03", Line(Restart(ProcessTarget("rq", 3)), When(0))),
        ("resume r1 @2s", Line(Resume(ProcessTarget("robot", 1)), When(2 * SECOND))),
        ("resume rq:r01", Line(Resume(ProcessTarget("rq", 1)), When(0))),
        ("resume relay:0", Line(Resume(ProcessTarget("relay", 0)), When(0))),
        ("resume redis", Line(Resume(ProcessTarget("redis")), When(0))),
        ("crash r03/secret_merger @1s", Line(Crash(ProcessTarget("robot", 3), "secret_merger"), When(SECOND))),
        ("contradict r03 @2s", Line(Contradict(ProcessTarget("robot", 3)), When(2 * SECOND))),
        ("amnesia r03", Line(Amnesia(ProcessTarget("robot", 3)), When(0))),
        ("kill supervisor", Line(Kill(ProcessTarget("supervisor")), When(0))),
    ],
)
def test_a_text_reads_as_the_fault_that_it_means(text: str, line: Line) -> None:
    assert parse_line(text) == line


@pytest.mark.parametrize(
    ("text", "word", "column", "allowed"),
    [
        ("kill", "", 4, "a process such as r03, rq:r03, relay, relay:1, supervisor, redis or robot"),
        ("kill everyone", "everyone", 5, "a process such as"),
        ("kill r03>r05", "r03>r05", 5, "a process such as"),
        ("kill relay:", "relay:", 5, "a process such as"),
        ("kill r03 @2s+3s", "3s", 13, "a kill takes no time"),
        ("kill r03 every 9ms", "9ms", 15, "a time of 10ms or more"),
        ("kill r03 now", "now", 9, "a time such as @5s"),
        ("kil r03", "kil", 0, "did you mean kill?"),
        ("pause r03", "", 9, "@5s+2s"),
        ("pause r03 @2s", "@2s", 10, "@5s+2s"),
        ("pause r03 @2s+0s", "0s", 14, "a duration above 0"),
        ("pause r03 @2s+3s every 3s", "3s", 23, "a time of 3000001us or more"),
        ("restart supervisor", "supervisor", 8, "r03, rq:r03, relay, relay:1, redis or robot"),
        ("pause supervisor @1s+1s", "supervisor", 6, "r03, rq:r03, relay, relay:1, redis or robot"),
        ("resume supervisor", "supervisor", 7, "r03, rq:r03, relay:1 or redis"),
        ("restart r03 @2s+3s", "3s", 16, "a restart takes no time"),
        ("resume", "", 6, "a process that is paused, such as r03"),
        ("resume robot", "robot", 7, "r03, rq:r03, relay:1 or redis"),
        ("resume relay", "relay", 7, "relay:1"),
        ("resume r03 @2s+3s", "3s", 15, "a resume takes no time"),
        ("crash r03", "r03", 6, "secret_merger"),
        ("crash r03/secret_mergr", "secret_mergr", 10, "did you mean secret_merger?"),
        ("crash robot/secret_merger", "robot", 6, "a worker such as r03/secret_merger"),
        ("contradict robot", "robot", 11, "a robot such as r03"),
        ("amnesia rq:r03", "rq:r03", 8, "a robot such as r03"),
    ],
)
def test_an_error_points_at_the_word_and_names_what_is_allowed(text: str, word: str, column: int, allowed: str) -> None:
    with pytest.raises(PlanSyntaxError) as caught:
        parse_line(text)

    assert (caught.value.word, caught.value.column) == (word, column)
    assert allowed in caught.value.allowed


def test_what_travels_in_an_outbox_is_never_a_fault_of_a_process() -> None:
    with pytest.raises(PlanSyntaxError):
        parse_fault("kill r03")


def test_a_fault_of_a_process_names_its_robot_as_other_faults_do() -> None:
    assert parse_line("crash r17/outbox_writer").fault.target == parse_target("r17")
    assert parse_line("kill rq:r17").fault.target.highest == 17
    assert parse_line("kill relay:17").fault.target.highest is None


def test_faults_of_processes_are_added_and_never_replace_each_other() -> None:
    more = parse_lines("kill robot; kill robot; kill relay; loss 0.5")

    assert amend(lines_of("lossy", 6), more)[-3:] == more[:3]


def test_faults_of_processes_do_not_count_for_the_length_of_a_plan() -> None:
    plan = timed(parse_lines("kill r00;" * 200) + parse_lines("kill r00;" * 200))

    assert is_short(plan)


# The scheduler.


def test_a_fault_of_a_process_is_never_in_force_and_is_handed_out_once() -> None:
    lead = scheduler("loss 0.2; kill r03 @2s")

    assert [planned.text for planned in lead.first.faults] == ["loss 0.2"]
    assert [injections(lead, now) for now in (0, 1.999999, 2, 2, 3)] == [[], [], ["kill r03"], [], []]
    assert lead.advance(3 * SECOND) is None


def test_without_a_time_it_is_due_at_go_and_not_before() -> None:
    lead = scheduler("kill r03")

    assert injections(lead, -0.000001) == []
    assert injections(lead, 0) == ["kill r03"]
    assert injections(lead, 1) == []


def test_what_comes_again_does_so_until_for() -> None:
    lead = scheduler("kill robot every 500ms", for_s=2)

    polls = [injections(lead, tenth / 10) for tenth in range(40)]

    assert [(tenth, due) for tenth, due in enumerate(polls) if due] == [
        (0, ["kill robot"]),
        (5, ["kill robot #1"]),
        (10, ["kill robot #2"]),
        (15, ["kill robot #3"]),
    ]


def test_the_first_time_is_never_left_out() -> None:
    assert injections(scheduler("kill robot @9s every 1s", for_s=2), 100) == ["kill robot"]


def test_a_late_poll_gives_every_occurrence_in_the_order_of_time() -> None:
    lead = scheduler("kill r00 @1s every 1s; pause r01 @1500ms+1s; restart redis @2s", for_s=4)

    assert injections(lead, 9) == [
        *("kill r00", "pause r01", "kill r00 #1", "restart redis"),
        *("end of pause r01", "kill r00 #2"),
    ]


def test_a_pause_ends_when_its_time_is_over() -> None:
    lead = scheduler("pause r01 @1s+2s")

    assert [injections(lead, now) for now in (1, 2, 2.999999, 3, 4)] == [
        ["pause r01"],
        [],
        [],
        ["end of pause r01"],
        [],
    ]


@pytest.mark.parametrize("words", ["heal", "clear pause", "clear #0", "clear pause r01"])
def test_a_pause_that_is_taken_back_ends_at_once(words: str) -> None:
    lead = scheduler("pause r01 @1s+60s")
    injections(lead, 1)

    lead.answer("1-0", words, 2 * SECOND)

    assert injections(lead, 2) == ["end of pause r01"]
    assert injections(lead, 99) == []
    assert lead.is_settled(99 * SECOND)


def test_a_dated_heal_ends_a_pause_and_what_would_come_again() -> None:
    lead = scheduler("pause r01 @1s+60s; kill robot every 2s; heal @3s; kill r02 @4s", for_s=60)

    assert injections(lead, 60) == ["kill robot", "pause r01", "kill robot #1", "end of pause r01", "kill r02"]


def test_a_request_is_due_at_once_even_at_the_moment_of_a_poll() -> None:
    lead = scheduler("")
    injections(lead, 5)

    change = lead.answer("1-0", "set kill r03; crash r04/inbox_reader @1s", 5 * SECOND)

    assert change.faults == ()
    assert injections(lead, 5.000001) == ["kill r03"]
    assert injections(lead, 6) == ["crash r04/inbox_reader"]


def test_a_request_before_go_waits_for_go() -> None:
    lead = scheduler("")

    lead.answer("1-0", "set kill r03", -1)

    assert injections(lead, 0) == ["kill r03"]


def test_a_change_of_the_plan_neither_repeats_nor_loses_a_fault() -> None:
    lead = scheduler("kill r00 @1s; kill r01 @2s; kill robot @1s every 2s; pause r02 @1s+4s", for_s=7)
    assert injections(lead, 1) == ["kill r00", "kill robot", "pause r02"]

    lead.answer("1-0", "set loss 0.5", 2 * SECOND)  # at the very time of a fault that was not handed out yet

    assert injections(lead, 2) == ["kill r01"]
    assert injections(lead, 6) == ["kill robot #1", "end of pause r02", "kill robot #2"]


def test_it_is_settled_when_the_last_fault_is_handed_out_even_if_that_is_a_pause() -> None:
    lead = scheduler("kill robot every 500ms; pause r01 @2s+3s", for_s=2)

    assert not lead.is_settled(1_999_999)
    assert not lead.is_settled(2 * SECOND), "it is due, and not handed out"
    injections(lead, 2)
    assert lead.is_settled(2 * SECOND), "whether a pause is over, Chaos knows: it may have been resumed"
    # but an end that has come due is still to be handed out
    assert not lead.is_settled(5 * SECOND)
    injections(lead, 5)
    assert lead.is_settled(5 * SECOND)


def test_the_next_time_that_anything_is_due_is_known() -> None:
    lead = scheduler("loss 0.5 @3s; kill robot every 2s; pause r01 @1s+500ms", for_s=5)

    found, now_us = [], -1
    while (next_us := lead.next_due_us(now_us)) is not None:
        now_us = next_us
        lead.due_faults(now_us)
        found.append(now_us / SECOND)

    assert found == [0, 1, 1.5, 2, 3, 4]


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(["", "+", "every", "+every"]), st.integers(1, 9)), max_size=5
    ),
    st.lists(st.integers(0, 60), max_size=12),
    st.integers(0, 40),
)
def test_however_often_it_is_polled_the_same_faults_are_handed_out_in_the_same_order(plan, polls, for_ms) -> None:
    def line(start: int, kind: str, step: int) -> str:
        name = "pause" if "+" in kind else "kill"
        end = f"+{step}ms" if "+" in kind else ""
        return f"{name} robot @{start}ms{end}" + (f" every {step + 10}ms" if "every" in kind else "")

    text = "; ".join(line(*each) for each in plan)
    at_once, in_steps = scheduler(text, for_ms / 1000), scheduler(text, for_ms / 1000)

    stepwise = [due for now_ms in [*sorted(polls), 999] for due in in_steps.due_faults(now_ms * 1000)]

    assert stepwise == at_once.due_faults(999_000)
    begun = [(due.instance, due.occurrence) for due in stepwise if isinstance(due.fault, Pause) and not due.is_end]
    ended = [(due.instance, due.occurrence) for due in stepwise if due.is_end]
    assert sorted(begun) == sorted(ended)


def test_every_fault_of_processes_has_a_name_that_the_grammar_knows() -> None:
    for kind in ProcessFault.__args__:
        with pytest.raises(PlanSyntaxError) as caught:
            parse_line(f"{kind.name} !")
        assert "partition" not in caught.value.allowed


def test_a_fault_that_is_requested_between_two_polls_is_due_at_the_next_one() -> None:
    # Given a scheduler that has just been polled
    lead = PlanScheduler([], 60 * SECOND)
    assert lead.due_faults(2 * SECOND) == []

    # When a request comes a moment later
    lead.answer("1-0", "set kill r03", 2 * SECOND + 7)

    # Then the fault is due at the next poll
    assert [due.fault.text() for due in lead.due_faults(2 * SECOND + 30_000)] == ["kill r03"]
