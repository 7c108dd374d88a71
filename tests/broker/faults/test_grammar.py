"""How faults are written: what is printed reads back, what is wrong is pointed at, and any text is read safely."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.faults.grammar import PRESETS, Line, When, lines_of, parse_fault, parse_line, parse_lines
from broker.faults.message_faults import BurstLoss, Corrupt, Partition, Throttle
from broker.faults.registry import Heal
from broker.faults.scheduler import Clear, HealNow, Set, parse_request
from broker.faults.shaping_faults import Delay, Duplicate, LognormalDelay, Loss, Reorder
from broker.faults.syntax import PlanSyntaxError, format_duration, parse_duration
from broker.faults.target import EVERYONE, Target, parse_target, side_of

P = st.floats(0, 1).map(abs)
ROBOT = st.one_of(st.integers(0, 12), st.integers(0, 9_999_999))
RANGE = st.tuples(ROBOT, ROBOT).map(lambda pair: (min(pair), max(pair)))
SIDE = st.lists(RANGE, min_size=1, max_size=4).map(side_of)
NAMED = st.one_of(
    st.builds(lambda sides: Target(tuple(sides)), st.lists(SIDE, min_size=1, max_size=4)),
    st.builds(lambda one, other: Target((one, other), is_one_way=True), SIDE, SIDE),
)
TARGET = st.one_of(st.just(EVERYONE), NAMED)
DELAY_US = st.one_of(st.integers(0, 60).map(lambda s: s * 1_000_000), st.integers(0, 60_000_000))
FAULTS = st.one_of(
    st.builds(Partition, NAMED, st.booleans()),
    st.tuples(st.floats(0, 0.9), st.floats(9, 1000), TARGET).map(lambda fields: BurstLoss(*fields)),
    st.builds(Loss, P, TARGET),
    st.builds(Duplicate, P, st.integers(2, 10), TARGET),
    st.tuples(DELAY_US, DELAY_US, TARGET).map(lambda f: Delay(min(f[:2]), max(f[:2]), f[2])),
    st.builds(LognormalDelay, st.integers(1, 60_000_000), st.floats(0, 3, exclude_min=True), TARGET),
    st.builds(Reorder, P, TARGET),
    st.tuples(DELAY_US, DELAY_US, P, TARGET).map(lambda f: Reorder(f[2], f[3], min(f[:2]), max(f[:2]))),
    st.builds(Corrupt, P, TARGET),
    st.builds(Throttle, st.floats(0.001, 1e6), TARGET),
)
TIME_US = st.integers(0, 10**11)
WHENS = st.one_of(
    st.just(When()),
    st.builds(When, TIME_US),
    st.builds(When, TIME_US, TIME_US.map(lambda us: us + 1)),
    st.builds(lambda start, last, gap: When(start, last + 1, last + gap + 10_000), TIME_US, TIME_US, TIME_US),
)
LINES = st.one_of(st.builds(Line, FAULTS, WHENS), st.builds(lambda start: Line(Heal(), When(start)), TIME_US))
SCRAP = (
    "loss partition hold burst-loss duplicate delay reorder corrupt throttle heal every set clear 0 .3 1 1e9 5 x2 x11 "
    "5ms 5ms..9ms 2s~0.5 ~ .. 7/s 0/s r r03 r3>r5 r0|r1 r1..r0 , | > @ @5s @5s+2s @1s+ + #3 # ; ;; 10s \x00 \u0661 é"
)
SCRAPS = st.lists(st.sampled_from([*SCRAP.split(" "), "\n"]), max_size=12).map(" ".join)


# One parser, one printer.


@given(LINES)
@example(Line(BurstLoss(0.9, 9)))
@example(Line(BurstLoss(0.999999, 1e6)))
def test_what_is_printed_reads_back_as_exactly_that(line: Line) -> None:
    assert parse_line(line.text()) == line
    if isinstance(line.fault, Heal):
        return
    assert parse_fault(line.fault.text()) == line.fault
    assert parse_target(line.fault.target.text()) == line.fault.target


@given(st.lists(LINES, max_size=4))
def test_lines_read_back_together_whatever_blank_stands_between_them(lines: list[Line]) -> None:
    text = " ;; \n".join(line.text() for line in lines)

    assert parse_lines(f";{text} ; ") == lines


@given(st.one_of(st.text(max_size=80), SCRAPS))
@example("loss 1e" + "9" * 4000)
@example("delay " + "9" * 4000 + "h")
@example("delay 0.1us~1")
@example("loss \u0661")
@example("\x1closs\x1f0.5\x85")
def test_any_text_gives_lines_that_read_back_or_an_error_of_one_line(text: str) -> None:
    for parse in (parse_lines, parse_request, parse_target, parse_fault, parse_line):
        parsed, error = read(parse, text)
        if error is not None:
            assert error.text == text
            assert text[error.column :].startswith(error.word)
            assert error.allowed
            assert len(str(error).splitlines()) == 1
            assert len(str(error)) < 600
        elif parse is parse_lines:
            assert parse_lines("; ".join(line.text() for line in parsed)) == parsed


def read(parse, text: str):
    """What `parse` makes of the text, and what it complains about."""
    try:
        return parse(text), None
    except PlanSyntaxError as error:
        return None, error


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("loss 0.20 r3", "loss 0.2 r03"),
        ("loss .5 r0,r2,r1,r7..r9,r8", "loss 0.5 r00..r02,r07..r09"),
        ("loss 1e-1 r000..r001>r9", "loss 0.1 r00,r01>r09"),
        ("duplicate 0.1 x2", "duplicate 0.1"),
        ("delay 5ms..5000us", "delay 5ms"),
        ("delay 0", "delay 0s"),
        ("delay 0..1000ms", "delay 0s..1s"),
        ("delay 20ms~0.50", "delay 20ms~0.5"),
        ("burst-loss 0 @1s", "burst-loss 0 1 @1s"),
        ("throttle 10.0/s", "throttle 10/s"),
        ("  partition   hold r00|r01|r02 @5000ms+60s  every 120s ", "partition hold r00|r01|r02 @5s+1m every 2m"),
        ("heal @0.5s", "heal @500ms"),
    ],
)
def test_the_printed_text_is_short(long: str, short: str) -> None:
    assert parse_line(long).text() == short
    assert parse_line(short) == parse_line(long)


@given(st.integers(0, 366 * 24 * 3_600_000_000))
def test_a_time_reads_back_as_it_was_printed(microseconds: int) -> None:
    assert parse_duration(format_duration(microseconds)) == microseconds


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("robots", [2, 3, 7, 101])
def test_presets_are_lines_like_any_other(preset: str, robots: int) -> None:
    lines = lines_of(preset, robots)

    assert parse_lines("; ".join(line.text() for line in lines)) == lines


def test_split_parts_all_robots_into_two_halves() -> None:
    (partition,) = (line.fault for line in lines_of("split", 5) if isinstance(line.fault, Partition))

    assert partition.text() == "partition hold r00..r02|r03,r04"


# Complaints.


@pytest.mark.parametrize(
    ("text", "word", "column", "allowed"),
    [
        ("loss 1.2 r03", "1.2", 5, "a probability from 0 to 1"),
        ("loss", "", 4, "a probability from 0 to 1"),
        ("loss nan", "nan", 5, "probability"),
        ("loss -0.1", "-0.1", 5, "probability"),
        ("", "", 0, "loss, burst-loss, duplicate,"),
        ("los 0.2", "los", 0, "did you mean loss?"),
        ("delai 5ms", "delai", 0, "did you mean delay?"),
        ("gremlin 1", "gremlin", 0, "partition, heal, kill, pause, resume, restart, crash, contradict, amnesia"),
        ("loss 0.2; delay 5ms; duplicate 0.1 x1", "x1", 35, "from x2 to x10"),
        ("loss 0.2;  delay", "", 16, "a delay such as"),
        ("duplicate 0.1 x11", "x11", 14, "from x2 to x10"),
        ("delay 5", "5", 6, "a delay such as 20ms, 5ms..20ms or 20ms~0.5"),
        ("delay -5ms", "-5ms", 6, "a delay such as"),
        ("delay 20ms..5ms", "20ms..5ms", 6, "the shorter one first"),
        ("delay 1ms..2h", "2h", 11, "at most 1m"),
        ("delay 20ms~4", "4", 11, "a sigma above 0, up to 3"),
        ("delay 20ms~0", "0", 11, "a sigma above 0"),
        ("delay 0~1", "0", 6, "a median above 0"),
        ("burst-loss 1 5", "1", 11, "a share from 0 to 0.999999"),
        ("burst-loss 0.2", "", 14, "a mean length"),
        ("burst-loss 0.2 0.5", "0.5", 15, "a mean length from 1 to 1000000 envelopes"),
        ("burst-loss 0.9 8 r03", "8", 15, "9 envelopes or more, for a share of 0.9"),
        ("burst-loss 0.7 2", "2", 15, "2.334 envelopes or more"),
        ("throttle 10", "10", 9, "a rate from 0.001/s to 1000000/s"),
        ("throttle 2000000/s", "2000000", 9, "a rate from"),
        ("partition", "", 9, "hold, or a target"),
        ("partition hold @5s", "@5s", 15, "a target such as r03, r03>r05 or r00..r02|r03..r05"),
        ("partition r00..x|r03", "x", 15, "a robot such as r03"),
        ("loss 0.2 r05..r02", "r05..r02", 9, "the lower number first"),
        ("loss 0.2 r1>r2>r3", "r2>r3", 12, "a robot"),
        ("loss 0.2 r12345678", "r12345678", 9, "a robot"),
        ("loss 0.2 everyone", "everyone", 9, "a target such as"),
        ("loss 0.2 r03 r04", "r04", 13, "a time such as @5s"),
        ("loss 0.2 @5", "5", 10, "a time such as"),
        ("loss 0.2 @5s+0s", "0s", 13, "a duration above 0"),
        ("loss 0.2 @5s 3s", "3s", 13, "nothing more"),
        ("loss 0.2 every 5s", "every", 9, "every only after @start+duration"),
        ("loss 0.2 @1s every 5s", "every", 13, "every only after @start+duration"),
        ("loss 0.2 @1s+5s every 5s", "5s", 22, "a time of 5000001us or more"),
        ("loss 0.2 @1s+1us every 2us", "2us", 23, "a time of 10ms or more"),
        ("heal", "", 4, "@5s"),
        ("heal @5s+1s", "1s", 9, "nothing more"),
        ("heal @5s r03", "r03", 9, "nothing more"),
    ],
)
def test_an_error_points_at_the_word_and_names_what_is_allowed(text: str, word: str, column: int, allowed: str) -> None:
    with pytest.raises(PlanSyntaxError) as caught:
        parse_lines(text) if text else parse_line(text)

    error = caught.value
    assert (error.text, error.word, error.column) == (text, word, column)
    assert allowed in error.allowed


def test_an_error_is_one_line_that_repeats_the_text() -> None:
    with pytest.raises(PlanSyntaxError) as wrong:
        parse_line("loss 1.2 r03")
    with pytest.raises(PlanSyntaxError) as missing:
        parse_line("partition hold")

    assert str(wrong.value) == "in 'loss 1.2 r03', at '1.2': allowed is a probability from 0 to 1"
    assert str(missing.value) == (
        "in 'partition hold', after 'hold': allowed is a target such as r03, r03>r05 or r00..r02|r03..r05"
    )


def test_what_a_control_entry_carries_bears_no_time() -> None:
    with pytest.raises(PlanSyntaxError, match="here a fault has no time"):
        parse_fault("loss 0.2 @5s")
    with pytest.raises(PlanSyntaxError, match=r"throttle, partition$"):
        parse_fault("heal")


def test_texts_and_plans_have_limits() -> None:
    assert len(parse_lines("loss 0;" * 256)) == 256
    with pytest.raises(PlanSyntaxError, match="a plan of 256 lines"):
        parse_lines("loss 0;" * 257)
    with pytest.raises(PlanSyntaxError, match="4096 characters"):
        parse_lines(" " * 4097)


# Targets.


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", "01 02 03 10 12 13 20 21 23 30 31 32"),
        ("r01", "01 10 12 13 21 31"),
        ("r01,r02", "01 02 10 12 13 20 21 23 31 32"),
        ("r01>r03", "13"),
        ("r00..r01>r01..r02", "01 02 12"),
        ("r00|r03", "03 30"),
        ("r00,r03|r01..r02", "01 02 10 13 20 23 31 32"),
        ("r00|r01|r02", "01 02 10 12 20 21"),
    ],
)
def test_a_target_selects_pairs(text: str, selected: str) -> None:
    target = parse_target(text)

    pairs = [f"{a}{b}" for a in range(4) for b in range(4) if a != b and target.selects(a, b)]

    assert " ".join(pairs) == selected


def test_a_target_knows_the_highest_robot_that_it_names() -> None:
    assert parse_target("r03,r17..r20|r05").highest == 20
    assert EVERYONE.highest is None


# Requests.


def test_requests_read_as_what_they_ask_for() -> None:
    assert parse_request(" set loss 0.5; heal @5s ") == Set((parse_line("loss 0.5"), parse_line("heal @5s")))
    assert parse_request("clear loss") == Clear("loss")
    assert parse_request("clear #12") == Clear(12)
    assert parse_request("clear partition r0|r1") == Clear(parse_fault("partition r00|r01"))
    assert parse_request("heal") == HealNow()


@pytest.mark.parametrize(
    ("words", "word", "column", "allowed"),
    [
        ("", "", 0, "set, clear, heal"),
        ("sett loss 0.2", "sett", 0, "did you mean set?"),
        ("set", "", 3, "a fault such as loss 0.2"),
        ("set loss 1.2", "1.2", 9, "a probability"),
        ("set loss 0.2; los 0.3", "los", 14, "did you mean loss?"),
        ("clear", "", 5, "loss, burst-loss"),
        ("clear los", "los", 6, "did you mean loss?"),
        ("clear #x", "#x", 6, "the number of a fault, such as #3"),
        ("clear loss 0.2 @5s", "@5s", 15, "has no time"),
        ("heal r03", "r03", 5, "set heal @5s"),
    ],
)
def test_words_that_are_no_request_are_pointed_at(words: str, word: str, column: int, allowed: str) -> None:
    with pytest.raises(PlanSyntaxError) as caught:
        parse_request(words)

    assert (caught.value.text, caught.value.word, caught.value.column) == (words, word, column)
    assert allowed in caught.value.allowed
