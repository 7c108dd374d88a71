"""Two opinions on what a plan wants when: the broker's scheduler, which leads, and the judge, which recomputes. They
share no code."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.faults.grammar import parse_line
from broker.faults.schedule import timed
from broker.faults.scheduler import PlanScheduler
from telemetry.verdict.recomputed.plan_lines import Interval, meaning_of, read_line
from telemetry.verdict.recomputed.plan_times import PlanTimes, Request, when_in_force

END_MS = 6_000
QUICK = settings(max_examples=120, deadline=None)
MESSAGE = (
    "loss 0.2",
    "loss 0.2 r01",
    "loss 0",
    "delay 5ms..20ms",
    "duplicate 0.1 x3",
    "burst-loss 0.3 5",
    "burst-loss 0",
)
DATED = ("partition r00|r01", "partition hold r00..r02>r03", "throttle 20/s r01,r02", "corrupt 0.1", "delay 20ms~0.5")
PROCESS = ("kill robot", "kill rq:r03", "restart relay:1", "crash r03/secret_merger", "kill redis", "contradict r2")

times = st.integers(0, 40).map(lambda tenths: f"@{tenths * 100}ms")
spans = st.integers(1, 9).map(lambda tenths: f"+{tenths * 100}ms")
repeats = st.integers(10, 30).map(lambda tenths: f" every {tenths * 100}ms")
lines = st.one_of(
    st.sampled_from(MESSAGE),
    st.builds("{} {}".format, st.sampled_from(DATED), times),
    st.builds("{} {}{}{}".format, st.sampled_from(DATED), times, spans, st.one_of(st.just(""), repeats)),
    st.builds("{} {}{}".format, st.sampled_from(PROCESS), times, st.one_of(st.just(""), repeats)),
    st.builds("pause r01 {}{}{}".format, times, spans, st.one_of(st.just(""), repeats)),
    st.builds("heal {}".format, times),
)
requests = st.one_of(
    st.lists(lines, min_size=1, max_size=3).map(lambda texts: f"set {'; '.join(texts)}"),
    st.sampled_from(["heal", "clear loss", "clear kill", "clear pause r01", "clear #1", "clear #3", "clear heal"]),
    st.sampled_from(DATED).map(lambda fault: f"clear {fault}"),
)
plans = st.lists(lines, max_size=4)
amendments = st.lists(st.tuples(st.integers(0, 50).map(lambda tenths: tenths * 100 + 50), requests), max_size=4)

Injections = list[tuple[int, str, bool]]
"""When (microseconds after go), what, and whether it is the end of a pause."""


def decided(
    plan: list[str], for_us: int, asked: list[tuple[int, str]]
) -> tuple[list[frozenset[tuple[int, object]]], Injections]:
    """What a leader that wakes every 50 ms puts in force at each of its steps, and injects."""
    scheduler = PlanScheduler(timed([parse_line(line) for line in plan]), for_us)
    waiting, standing, injections = sorted(asked, key=lambda request: request[0]), [], Injections()
    for now_ms in range(0, END_MS, 50):
        while waiting and waiting[0][0] == now_ms:
            answer = scheduler.answer("1-0", waiting.pop(0)[1], now_ms * 1000)
            assert not answer.refusal
        faults = scheduler.in_force(now_ms * 1000)
        standing.append(frozenset((planned.instance, meaning_of(planned.text)) for planned in faults))
        for due in scheduler.due_faults(now_ms * 1000):
            injections.append((now_ms * 1000, due.fault.text(), due.is_end))
    return standing, injections


def judged(
    plan: list[str], for_us: int, asked: list[tuple[int, str]]
) -> tuple[list[frozenset[tuple[int, object]]], Injections]:
    answered = [Request(at_ms * 1000, text) for at_ms, text in sorted(asked, key=lambda request: request[0])]
    recomputed = PlanTimes(
        [read_line(text, number) for number, text in enumerate(plan)], for_us, answered, END_MS * 1000
    )
    wanted = when_in_force(recomputed.standing(), END_MS * 1000)
    standing = []
    for now_ms in range(0, END_MS, 50):
        found = [faults for faults, intervals in wanted.items() if any(_holds(each, now_ms) for each in intervals)]
        assert len(found) == 1
        standing.append(found[0])
    injections: Injections = []
    for due in recomputed.due():
        injections.append((due.at_us, due.line.text, False))
        if due.line.name == "pause":
            injections.append((due.end_us, due.line.text, True))
    return standing, injections


def _holds(interval: Interval, now_ms: int) -> bool:
    return interval.begin_us <= now_ms * 1000 < interval.end_us


def on_steps(injections: Injections) -> list[tuple[int, object, bool]]:
    """By the next step of the leader, and by meaning."""
    found = [(-(-at_us // 50_000) * 50, meaning_of(text), is_end) for at_us, text, is_end in injections]
    return sorted((each for each in found if each[0] < END_MS), key=str)


@QUICK
@given(plans, st.integers(0, 5_000_000), amendments)
def test_leader_and_judge_agree_on_what_is_due_when(plan: list[str], for_us: int, asked: list[tuple[int, str]]) -> None:
    # Given any plan, amended by any requests
    theirs, ours = decided(plan, for_us, asked), judged(plan, for_us, asked)
    # Then both hold the same faults in force at any time, and the same injections due
    assert ours[0] == theirs[0]
    assert on_steps(ours[1]) == on_steps(theirs[1])


def test_times_written_out_by_hand() -> None:
    # Given a plan with a recurring fault that a heal ends, and two requests
    lines = [
        read_line(text, number)
        for number, text in enumerate(["loss 0.1", "partition r00 @1s+500ms every 1s", "heal @3s"])
    ]
    asked = [Request(500_000, "set loss .3; kill r1 @1s"), Request(4_000_000, "set delay 10ms @1s")]
    # When it is computed for six seconds
    recomputed = PlanTimes(lines, 10_000_000, asked, 6_000_000)
    # Then that is what was in force, and due
    assert {line.instance: intervals for line, intervals in recomputed.standing().items()} == {
        0: [(0, 500_000)],
        1: [(1_000_000, 1_500_000), (2_000_000, 2_500_000)],
        3: [(500_000, 3_000_000)],
        5: [(5_000_000, 6_000_000)],
    }
    assert [(due.at_us, due.line.text) for due in recomputed.due()] == [(1_500_000, "kill r1")]
