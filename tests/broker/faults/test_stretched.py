"""What a plan is in a slower run: every time in it takes as many times as long, and nothing else changes."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given

from broker.faults.dice import Dice
from broker.faults.fate import Plan
from broker.faults.grammar import Line, When, parse_line
from broker.faults.registry import FAULTS
from tests.broker.faults.test_grammar import LINES
from tests.support.plan_change import plan_change

TIMES = {"low_us", "high_us", "median_us", "start_us", "duration_us", "every_us"}
"""The fields that are times: ten times as many in a run that is ten times as slow."""
RATES = {"per_second"}
"""The fields that are rates: a tenth."""
OTHERS = {"p", "share", "length", "copies", "sigma", "target", "is_hold", "process", "worker"}
"""The fields that no pace changes: probabilities, envelopes, copies, shapes and names."""

EXAMPLES = [example for kind in FAULTS.values() for example in kind.syntax]


def fields_of(line: Line) -> dict[str, object]:
    """All that a line says, by the names of its fields."""
    return msgspec.structs.asdict(line.fault) | msgspec.structs.asdict(line.when)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_kind_of_fault_takes_as_many_times_as_long(text: str) -> None:
    # Given a line of every kind in the registry, of whose fields each is a time, a rate or something else
    before = fields_of(parse_line(text))
    assert before.keys() <= TIMES | RATES | OTHERS, "say what this field is in a slower run"

    # When it is stretched
    slow = parse_line(text).stretched(Fraction(10))

    # Then each of its times takes ten times as long, a rate is a tenth, and the rest stays
    for name, value in fields_of(slow).items():
        was = before[name]
        if name in TIMES and isinstance(was, int):
            assert value == 10 * was, name
        elif name in RATES and isinstance(was, float):
            assert value == pytest.approx(was / 10), name
        else:
            assert value == was, name
    # and its text reads back as exactly that
    assert parse_line(slow.text()) == slow


def test_the_registry_has_faults_with_times_of_their_own() -> None:
    stretched = [text for text in EXAMPLES if parse_line(text).fault != parse_line(text).stretched(Fraction(10)).fault]

    assert {text.split()[0] for text in stretched} == {"delay", "reorder", "throttle"}


@given(LINES)
@example(Line(parse_line("loss .2").fault, When(1, 5_000, 10_000)))
def test_a_line_that_was_stretched_and_shortened_again_is_as_before(line: Line) -> None:
    again = line.stretched(Fraction(10)).stretched(Fraction(1, 10))

    assert again.when == line.when
    assert again.fault == line.fault or again.fault.name == "throttle"
    assert line.stretched(Fraction(1)) == line


def test_a_time_that_is_no_more_than_nothing_in_a_faster_run_stays_a_time() -> None:
    faster = parse_line("loss .2 @5us+3us every 10ms").stretched(Fraction(1, 100))

    assert faster.when == When(0, 1, 10_000)
    assert parse_line("delay 1us~1").stretched(Fraction(1, 100)) == parse_line("delay 1us~1")


def test_an_envelope_has_the_same_fate_and_is_as_many_times_as_late() -> None:
    # Given a plan with every delay there is, and the same in a run that is ten times as slow
    texts = ("loss .2", "burst-loss .2 5", "duplicate .5 x3", "delay 5ms..20ms", "delay 20ms~0.5", "reorder .5")
    lines = [parse_line(text) for text in texts]
    plan = Plan(plan_change(*(line.fault for line in lines)))  # type: ignore[arg-type]
    slow = Plan(plan_change(*(line.stretched(Fraction(10)).fault for line in lines)))  # type: ignore[arg-type]

    # When both decide over many envelopes
    addresses = [("r00", 1, "r01", sequence) for sequence in range(1, 500)]
    fates = [(plan.fate(Dice(7), *address), slow.fate(Dice(7), *address)) for address in addresses]

    # Then they lose, copy and delay the same ones, and each copy comes ten times as late (to the microsecond of each
    # of three delays)
    assert any(not fate.deliveries for fate, _ in fates)
    assert any(len(fate.deliveries) == 3 for fate, _ in fates)
    for fate, slower in fates:
        assert slower.faults == fate.faults
        assert len(slower.deliveries) == len(fate.deliveries)
        for due_us, slow_us in zip(fate.deliveries, slower.deliveries, strict=True):
            assert abs(slow_us - 10 * due_us) <= 30
