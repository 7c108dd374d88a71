"""Faults in time: what is in force when, and what people change by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.control_entries import PlanChange, Planned, encode_control
from broker.envelope import MAX_FRAME
from broker.faults.grammar import lines_of, parse_lines
from broker.faults.schedule import TRIAL_US, Schedule, Timed, amend, timed
from broker.faults.scheduler import PlanScheduler

SECOND = 1_000_000


def schedule(text: str, for_s: float = 0) -> Schedule:
    return Schedule(timed(parse_lines(text)), round(for_s * SECOND))


def scheduler(text: str = "", for_s: float = 0) -> PlanScheduler:
    return PlanScheduler(timed(parse_lines(text)), round(for_s * SECOND))


def at(plan: Schedule, seconds: float) -> list[str]:
    """The texts in force."""
    return texts(plan.in_force(round(seconds * SECOND)))


def texts(faults: tuple[Planned, ...]) -> list[str]:
    return [planned.text for planned in faults]


def changes_of(plan: Schedule, until_s: float = 3600) -> list[float]:
    """All seconds, from before go, at which what is in force changes."""
    found: list[float] = []
    now_us: int | None = -1
    before = plan.in_force(-1)
    while now_us is not None and now_us <= until_s * SECOND:
        if plan.in_force(now_us) != before:
            found.append(now_us / SECOND)
        before = plan.in_force(now_us)
        now_us = plan.next_change_us(now_us)
    return found


# What is in force when.


def test_a_line_without_a_time_is_in_force_from_the_deal_on_for_good() -> None:
    plan = schedule("loss 0.2")

    assert at(plan, -1) == at(plan, 0) == at(plan, 1e6) == ["loss 0.2"]
    assert plan.next_change_us(-1) is None
    assert plan.settled_us == 0


def test_zero_is_go_itself() -> None:
    plan = schedule("loss 0.2 @0s")

    assert at(plan, -0.000001) == []
    assert at(plan, 0) == ["loss 0.2"]
    assert plan.next_change_us(-1) == 0
    assert plan.settled_us == TRIAL_US


def test_a_window_begins_and_ends_on_the_microsecond() -> None:
    plan = schedule("partition r00|r01 @5s+2s")

    assert [at(plan, second) for second in (4.999999, 5, 6.999999, 7)] == [
        [],
        ["partition r00|r01"],
        ["partition r00|r01"],
        [],
    ]
    assert changes_of(plan) == [5, 7]
    assert plan.settled_us == 7 * SECOND


def test_a_fault_that_comes_again_begins_only_before_the_end_of_for() -> None:
    plan = schedule("loss 1 @1s+500ms every 2s", for_s=7)

    assert changes_of(plan) == [1, 1.5, 3, 3.5, 5, 5.5]
    assert plan.settled_us == 5.5 * SECOND


def test_without_for_a_fault_comes_once_and_its_first_time_is_never_left_out() -> None:
    plan = schedule("loss 1 @1s+500ms every 2s")

    assert changes_of(plan) == [1, 1.5]
    assert plan.settled_us == 1.5 * SECOND


def test_a_fault_keeps_its_instance_whenever_it_comes_again() -> None:
    plan = schedule("delay 1s @90s; loss 1 @1s+500ms every 2s", for_s=60)

    assert {plan.in_force(k * 2 * SECOND + SECOND) for k in range(29)} == {(Planned(1, "loss 1"),)}


def test_it_is_settled_when_every_dated_fault_has_happened_and_is_over() -> None:
    assert schedule("loss 0.2; delay 5ms @9s; corrupt 1 @2s+3s").settled_us == 9 * SECOND + TRIAL_US
    assert schedule("loss 0.2; delay 5ms @2s; corrupt 1 @2s+30s").settled_us == 32 * SECOND
    assert schedule("corrupt 1 @2s+30s; heal @5s").settled_us == 5 * SECOND
    assert schedule("heal @5s").settled_us == 5 * SECOND


def test_healing_ends_what_has_begun_and_its_recurrences_and_nothing_that_begins_later() -> None:
    plan = schedule("loss 0.1; loss 0.2 @1s; loss 0.3 @1s+1s every 3s; heal @5s; loss 0.4 @6s", for_s=20)

    assert at(plan, 4.9) == ["loss 0.1", "loss 0.2", "loss 0.3"]
    assert at(plan, 5) == []
    assert changes_of(plan) == [1, 2, 4, 5, 6]
    assert at(plan, 60) == ["loss 0.4"]


def test_in_the_same_microsecond_healing_ends_what_stands_before_it() -> None:
    assert at(schedule("loss 0.1 @5s; heal @5s; loss 0.2 @5s"), 5) == ["loss 0.2"]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 5), st.integers(0, 5), st.sampled_from(["", "+", "every"])),
        max_size=5,
    ),
    st.integers(0, 30),
    st.lists(st.integers(0, 20), max_size=1),
)
def test_nothing_changes_but_at_the_times_that_were_announced(spans, for_ms, heals) -> None:
    lines = [f"heal @{start}ms" for start in heals]
    for start, duration, gap, kind in spans:
        window = f"@{start * 10}ms" + ("" if not kind else f"+{duration}ms")
        lines.append(f"loss 0.5 {window}" + (f" every {duration + 10 + gap}ms" if kind == "every" else ""))
    plan = Schedule(timed(parse_lines("; ".join(lines))), for_ms * 10_000)

    changes = {round(second * 1000) for second in changes_of(plan)}

    by_trying = {ms for ms in range(500) if plan.in_force(ms * 1000) != plan.in_force(ms * 1000 - 1)}
    assert {ms for ms in changes if ms < 500} == by_trying
    assert all(ms * 1000 <= plan.settled_us for ms in changes)


# Amending.


@pytest.mark.parametrize(
    ("lines", "more", "amended"),
    [
        ("loss 0.2; delay 5ms", "loss 0.5", "loss 0.5; delay 5ms"),
        ("loss 0.2; delay 5ms", "loss 0", "delay 5ms"),
        ("loss 0.2; delay 5ms", "delay 0", "loss 0.2"),
        ("delay 20ms~1", "delay 5ms..9ms", "delay 5ms..9ms"),
        ("burst-loss 0.3 5; corrupt 0.1", "burst-loss 0; corrupt 0", ""),
        ("loss 0.2", "loss 0.5 r03", "loss 0.2; loss 0.5 r03"),
        ("loss 0.2", "loss 0.5 @5s", "loss 0.2; loss 0.5 @5s"),
        ("loss 0.2 r03; loss 0.3 @5s", "loss 0.5", "loss 0.2 r03; loss 0.3 @5s; loss 0.5"),
        ("loss 0.2 r03", "loss 0 r03", "loss 0.2 r03; loss 0 r03"),
        ("", "loss 0.1; loss 0.2; loss 0", ""),
        ("", "throttle 5/s; throttle 6/s; heal @5s; heal @5s", "throttle 6/s; heal @5s; heal @5s"),
    ],
)
def test_a_fault_for_everyone_and_always_replaces_the_one_before_and_others_are_added(lines, more, amended) -> None:
    assert amend(parse_lines(lines), parse_lines(more)) == parse_lines(amended)


def test_changing_one_fault_of_a_preset_leaves_the_dice_of_the_others() -> None:
    before, after = (
        timed(lines) for lines in (lines_of("lossy", 6), amend(lines_of("lossy", 6), parse_lines("loss 1")))
    )

    assert after[1:] == before[1:]
    assert after[0] == Timed(0, parse_lines("loss 1")[0])


# The scheduler.


def test_the_deal_carries_what_has_no_time() -> None:
    lead = scheduler("loss 0.2; delay 5ms @0s; corrupt 0.1 @5s; reorder 1")

    assert lead.first == PlanChange((Planned(0, "loss 0.2"), Planned(3, "reorder 1")))
    assert lead.advance(-1) is None


def test_each_change_is_given_once() -> None:
    lead = scheduler("loss 0.2; partition r00|r01 @1s+2s")

    assert lead.advance(0) is None
    assert lead.advance(SECOND - 1) is None
    assert lead.advance(SECOND) == PlanChange((Planned(0, "loss 0.2"), Planned(1, "partition r00|r01")))
    assert lead.advance(SECOND) is None
    assert lead.advance(3 * SECOND) == PlanChange((Planned(0, "loss 0.2"),))
    assert lead.advance(3 * SECOND) is None
    assert lead.next_change_us(3 * SECOND) is None


def test_a_late_advance_gives_only_what_is_in_force_by_then() -> None:
    lead = scheduler("loss 0.2 @1s+1s; delay 5ms @2s+1s; corrupt 1 @3s+1s")

    late = lead.advance(round(3.5 * SECOND))

    assert late == PlanChange((Planned(2, "corrupt 1"),))
    assert scheduler("loss 0.2 @1s+1s").advance(10 * SECOND) is None, "it came and went"


def test_it_is_settled_from_the_last_dated_end_on() -> None:
    lead = scheduler("loss 0.2 @1s+2s")

    assert [lead.is_settled(second * SECOND) for second in (0, 2, 3)] == [False, False, True]
    lead.answer("1-0", "set corrupt 1 @5s+1s", 3 * SECOND)
    assert [lead.is_settled(second * SECOND) for second in (3, 8, 9)] == [False, False, True]
    assert scheduler("loss 0.2").is_settled(0)


def test_a_request_bears_its_id_and_its_words() -> None:
    change = scheduler("loss 0.2").answer("17-0", "set loss 0.5", 9 * SECOND)

    assert change == PlanChange((Planned(1, "loss 0.5"),), "17-0", "set loss 0.5")


def test_the_answer_to_a_request_is_not_given_again_by_an_advance() -> None:
    lead = scheduler("loss 0.2")
    lead.answer("1-0", "set delay 5ms", SECOND)

    assert lead.advance(SECOND) is None


def test_times_of_a_request_count_from_the_request() -> None:
    lead = scheduler(for_s=60)
    now = 10 * SECOND

    assert lead.answer("1-0", "set partition r00|r01 @1s+2s every 5s", now).faults == ()
    assert lead.next_change_us(now) == 11 * SECOND
    assert texts(lead.advance(11 * SECOND).faults) == ["partition r00|r01"]
    assert lead.advance(13 * SECOND).faults == ()
    assert texts(lead.advance(16 * SECOND).faults) == ["partition r00|r01"]


def test_a_request_also_gives_what_is_due_by_its_time() -> None:
    lead = scheduler("loss 0.2 @1s")

    assert texts(lead.answer("1-0", "set delay 5ms", 2 * SECOND).faults) == ["loss 0.2", "delay 5ms"]
    assert lead.advance(2 * SECOND) is None


def test_no_instance_number_is_ever_given_twice() -> None:
    lead = scheduler("loss 0.2; heal @4s")
    seen = {planned.instance for planned in lead.first.faults}

    for number, words in enumerate(
        ["set loss 0.3", "set loss 0.3", "clear loss", "set loss 0.4", "heal", "set loss 0.5"]
    ):
        change = lead.answer(f"{number}-0", words, number * SECOND)
        if words.startswith("set"):
            (fault,) = change.faults
            assert fault.instance not in seen
            seen.add(fault.instance)

    lead = PlanScheduler([Timed(7, parse_lines("loss 0.2")[0])], 0)
    assert lead.answer("1-0", "set delay 5ms", 0).faults[1] == Planned(8, "delay 5ms")


def test_a_fault_that_stays_keeps_its_instance() -> None:
    lead = scheduler("loss 0.2; delay 5ms; reorder 0.1")

    change = lead.answer("1-0", "set loss 0.9", SECOND)

    assert change.faults == (Planned(3, "loss 0.9"), Planned(1, "delay 5ms"), Planned(2, "reorder 0.1"))


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("loss", ["delay 5ms", "delay 9ms r03"]),
        ("delay", ["loss 0.2", "loss 0.5 r03"]),
        ("loss 0.50 r3", ["loss 0.2", "delay 5ms", "delay 9ms r03"]),
        ("delay 5ms", ["loss 0.2", "loss 0.5 r03", "delay 9ms r03"]),
        ("#0", ["loss 0.5 r03", "delay 5ms", "delay 9ms r03"]),
        ("#99", ["loss 0.2", "loss 0.5 r03", "delay 5ms", "delay 9ms r03"]),
        ("corrupt", ["loss 0.2", "loss 0.5 r03", "delay 5ms", "delay 9ms r03"]),
    ],
)
def test_clearing_takes_out_a_name_a_fault_or_an_instance(what: str, left: list[str]) -> None:
    lead = scheduler("loss 0.2; loss 0.5 r03; delay 5ms; delay 9ms r03")

    change = lead.answer("1-0", f"clear {what}", SECOND)

    assert texts(change.faults) == left
    assert change.request == f"clear {what}"


def test_what_is_cleared_never_comes() -> None:
    lead = scheduler("loss 0.2 @5s; delay 5ms @1s+1s every 2s; heal @30s", for_s=60)
    lead.answer("1-0", "clear loss", 0)
    lead.answer("2-0", "clear delay", round(1.5 * SECOND))
    lead.answer("3-0", "clear heal", 2 * SECOND)

    assert lead.next_change_us(2 * SECOND) is None
    assert lead.is_settled(2 * SECOND)


def test_healing_by_hand_ends_what_has_begun_and_leaves_what_will() -> None:
    lead = scheduler("loss 0.2; corrupt 1 @1s+1s every 3s; delay 5ms @5s", for_s=60)

    assert lead.answer("1-0", "heal", 2 * SECOND).faults == ()
    assert texts(lead.advance(60 * SECOND).faults) == ["delay 5ms"]


def test_what_is_set_after_a_healing_stays() -> None:
    # Given a heal of the plan that is past
    lead = scheduler("loss 0.2; heal @1s; delay 5ms @1h")

    # When a fault is set for good, and another in the very microsecond of a healing by hand
    assert texts(lead.answer("1-0", "set loss 0.5", 2 * SECOND).faults) == ["loss 0.5"]
    assert lead.answer("2-0", "heal", 3 * SECOND).faults == ()
    assert texts(lead.answer("3-0", "set loss 0.6", 3 * SECOND).faults) == ["loss 0.6"]

    # Then neither healing ends it, but a later one does
    assert lead.advance(9 * SECOND) is None
    assert texts(lead.answer("4-0", "set heal @1s", 9 * SECOND).faults) == ["loss 0.6"]
    assert lead.advance(10 * SECOND).faults == ()


def test_a_request_that_changes_nothing_is_answered_all_the_same() -> None:
    lead = scheduler("loss 0.2")

    assert lead.answer("1-0", "clear delay", SECOND) == PlanChange(lead.first.faults, "1-0", "clear delay")


@pytest.mark.parametrize("words", ["", "sett loss 0.2", "set", "set loss 2", "clear", "clear los", "heal r03"])
def test_what_is_no_request_is_refused_and_changes_nothing(words: str) -> None:
    # Given a plan with something to come
    lead = scheduler("loss 0.2; delay 5ms @5s")

    # When a request makes no sense
    change = lead.answer("1-0", words, SECOND)

    # Then the answer carries the plan as it is, and why
    assert (change.faults, change.request_id, change.request) == (lead.first.faults, "1-0", words)
    assert change.refusal.startswith(f"in {words!r}")
    assert "allowed is" in change.refusal
    assert "\n" not in change.refusal
    assert lead.advance(SECOND) is None
    assert texts(lead.advance(5 * SECOND).faults) == ["loss 0.2", "delay 5ms"]


def test_a_plan_grows_only_so_long_and_what_is_over_does_not_count() -> None:
    lead = scheduler()
    for number in range(4):
        lead.answer("1-0", "set " + "loss 0.1 r03;" * 64, number)
    assert "256 lines and 32768 characters in all" in lead.answer("1-0", "set loss 0.2 r04", SECOND).refusal
    lead.answer("1-0", "heal", SECOND)

    for number in range(1, 600):
        change = lead.answer("1-0", "set loss 0.2 r04 @0s+500ms", number * SECOND)
        assert texts(change.faults) == ["loss 0.2 r04"]


def test_the_longest_plan_with_the_longest_request_is_a_frame_that_relays_take() -> None:
    # Given a plan of lines as long as can be, that takes no other one
    lead, sides = scheduler(), ",".join(f"r{number}" for number in range(9_000_000, 9_001_000, 3))
    words = f"set loss 0.1 {sides};" + "\u3000" * 1000
    taken = [lead.answer("1700000000000-0", words, number) for number in range(32_768 // len(sides))]
    refused = lead.answer("1700000000000-0", words, SECOND)

    # Then it goes through as a frame, and its refusal too
    assert "characters in all" in refused.refusal
    assert len(encode_control(refused)) <= MAX_FRAME
    assert sum(len(planned.text) for planned in taken[-1].faults) > 28_000
    assert len(encode_control(taken[-1])) <= MAX_FRAME


def test_what_is_refused_uses_up_no_instance_number() -> None:
    # Given a plan that takes no more lines
    lead = scheduler("loss 0.1 r03;" * 256)
    assert lead.answer("1-0", "set loss 0.2 r04", 0).refusal

    # When there is room again, then the next fault gets the next number
    lead.answer("2-0", "heal", 1)
    assert lead.answer("3-0", "set loss 0.2 r04", 2).faults == (Planned(256, "loss 0.2 r04"),)


def test_a_fault_that_is_too_long_for_relays_when_written_out_is_refused() -> None:
    # Given words as long as can be, that mean a fault whose own text is longer
    sides = "".join(f",r{number}" for number in range(9_000_000, 9_000_900, 2))
    words = f"set loss .1 r1,r3,r5,r7,r9>r0,r2,r4,r6,r8{sides}"
    assert len(words) == 4091

    change = scheduler().answer("1-0", words, 0)

    assert (change.faults, "4096 characters, written out" in change.refusal) == ((), True)


def test_what_remains_of_a_plan_is_in_force_or_to_come() -> None:
    lead = scheduler("loss 0.2; delay 5ms @1s+1s; corrupt 1 @5s; heal @9s")

    assert [planned.instance for planned in lead.remaining(2 * SECOND)] == [3, 0, 2]
    lead.answer("1-0", "heal", 3 * SECOND)
    assert [planned.instance for planned in lead.remaining(3 * SECOND)] == [3, 2]
