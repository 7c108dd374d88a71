"""Two opinions on every fate: the broker, which decides, and the judge, which recomputes. They share no code.

That both may err in the same way is why a few fates stand here written out by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.control_entries import Birth, Control, PlanChange, Planned, encode_control
from broker.envelope import Envelope, encode
from broker.faults.dice import Dice
from broker.faults.fate import Decision, Plan
from broker.faults.grammar import parse_fault
from broker.relay.core import Fate, OutboxEntry, Relay, parse_id
from telemetry.verdict.checks.fate_check import fate_matches
from telemetry.verdict.evidence.schema import BornRow, FateRow, PlannedFault, PlanRow
from telemetry.verdict.evidence.traffic import key_of
from telemetry.verdict.recomputed.fates import Rulebook, Ruling

QUICK = settings(max_examples=120, deadline=None)
ADDRESS = ("r03", 2, "r05")


def plan_row(entry: str, change: PlanChange) -> PlanRow:
    return PlanRow(0, entry, tuple(PlannedFault(planned.instance, planned.text) for planned in change.faults))


def fate_row(sender: str, incarnation: int, receiver: str, sequence: int, entry: str = "5-0") -> FateRow:
    return FateRow(0, entry, sender, incarnation, receiver, sequence, "", "summary", "delivered", (), (), 0, 0)


def judged(seed: int, faults: dict[int, str], *address: Any) -> tuple[str, tuple[int, ...]]:
    change = PlanChange(tuple(Planned(instance, text) for instance, text in faults.items()))
    ruling = Rulebook(seed, [plan_row("4-0", change)]).rule_on(key_of(0, "5-0"), fate_row(*address))
    return ruling.fate, ruling.deliveries


def decided(seed: int, faults: dict[int, str], *address: Any) -> tuple[str, tuple[int, ...]]:
    plan = Plan(PlanChange(tuple(Planned(instance, text) for instance, text in faults.items())))
    expected = plan.fate(Dice(seed), *address)
    return state_of(expected), expected.deliveries


def state_of(decision: Decision) -> str:
    """The fate that a relay records for a decision."""
    if not decision.deliveries:
        return "lost"
    return "delivered" if decision.damage is None else "corrupt"


OPINIONS = pytest.mark.parametrize("opinion", [judged, decided])


# Written out by hand from the specification: the envelopes 1, 2, 3 … of r03's second life to r05, under seed 7.

HARMED = {  # fault and instance → which of the envelopes 1..24 it acts on
    ("loss 0.3", 0): {3, 5, 6, 10, 15, 17, 19, 23, 24},
    ("loss 0.3", 9): {5, 9, 10, 14, 21, 24},
    ("duplicate 0.3", 40): {6, 10, 11, 13, 19, 23},
    ("corrupt 0.3", 15): {4, 6, 12, 16, 18, 19},
    ("burst-loss 0.3 3", 2): {3, 9, 10, 11, 12, 13, 14, 15},
    ("burst-loss 0.3 3", 24): {1, 4, 12, 13, 14, 15, 16, 17, 18, 22, 23, 24},
}

LATE = {  # fault and instance → the deliveries of the envelopes 1, 2, 3 …
    ("delay 20ms", 1): [(20_000,), (20_000,), (20_000,)],
    ("delay 5ms..20ms", 2): [(16_525,), (13_643,), (6_772,), (5_127,)],
    ("delay 20ms~1", 3): [(12_691,), (2_048,), (3_347,), (14_352,), (14_477,), (27_924,), (56_325,), (27_501,)],
    ("delay 40s~3", 3): [(10_221_279,), (42_979,), (187_414,), (14_780_298,), (15_169_814,), (60_000_000,)],
    ("reorder 0.4", 8): [(0,), (43_757,), (0,), (43_308,), (0,), (48_507,), (26_779,), (36_701,)],
}

ALL_AT_ONCE = {
    0: "burst-loss 0.2 2",
    1: "loss 0.1",
    2: "duplicate 0.5 x3",
    3: "delay 5ms..20ms",
    4: "reorder 0.4",
    5: "partition r04|r05",
    6: "loss 1 r05>r03",
    10: "corrupt 0.3",
    11: "throttle 5/s r03",
}
ALL_FATES = [
    ("delivered", (34_979,)),
    ("corrupt", (22_637,)),
    ("lost", ()),
    ("corrupt", (10_549, 35_237, 57_348)),
    ("lost", ()),
    ("corrupt", (14_460,)),
    ("delivered", (17_746, 14_777, 47_674)),
    ("delivered", (14_374,)),
]


@OPINIONS
@pytest.mark.parametrize(("text", "instance"), HARMED)
def test_a_fault_acts_on_the_envelopes_that_it_must(opinion: Any, text: str, instance: int) -> None:
    harmed = {number for number in range(1, 25) if opinion(7, {instance: text}, *ADDRESS, number) != UNHARMED}
    assert harmed == HARMED[text, instance]


UNHARMED = ("delivered", (0,))


@OPINIONS
@pytest.mark.parametrize(("text", "instance"), LATE)
def test_a_fault_delays_by_as_much_as_it_must(opinion: Any, text: str, instance: int) -> None:
    for number, deliveries in enumerate(LATE[text, instance], start=1):
        assert opinion(7, {instance: text}, *ADDRESS, number) == ("delivered", deliveries)


@OPINIONS
@pytest.mark.parametrize(("number", "delay_us"), [(167_942, 46_868_886), (250_840, 17_151_807), (269_048, 49_317_676)])
def test_a_lognormal_delay_is_exact_where_dice_are_extreme(opinion: Any, number: int, delay_us: int) -> None:
    assert opinion(7, {3: "delay 30s~0.1"}, *ADDRESS, number) == ("delivered", (delay_us,))


@OPINIONS
def test_faults_act_in_the_order_of_their_kinds(opinion: Any) -> None:
    # Given all faults at once, in any order, a few of which are for others
    for faults in (ALL_AT_ONCE, dict(reversed(ALL_AT_ONCE.items()))):
        # When the fates of eight envelopes are decided, then they are these
        assert [opinion(7, faults, *ADDRESS, number) for number in range(1, 9)] == ALL_FATES


@OPINIONS
def test_a_burst_begins_anew_at_every_1024th_number(opinion: Any) -> None:
    # Given instances whose state at 1025 would be another one if it were carried on from 1024
    for instance, bad in ((7, {1021, 1022, 1023, 1024, 1032, 1033, 1034, 1035}), (24, {1021, 1025}), (4, {1024})):
        # When the numbers around are asked for, then the new beginning decides
        lost = {
            number
            for number in range(1021, 1037)
            if not opinion(7, {instance: "burst-loss 0.3 3"}, *ADDRESS, number)[1]
        }
        assert lost == bad, instance


@OPINIONS
def test_every_copy_has_dice_of_its_own(opinion: Any) -> None:
    faults = {0: "duplicate 1 x3", 2: "delay 5ms..20ms"}
    assert opinion(7, faults, *ADDRESS, 1) == ("delivered", (16_525, 5_254, 18_640))
    assert opinion(7, faults, *ADDRESS, 2) == ("delivered", (13_643, 6_241, 15_430))


@OPINIONS
def test_the_greatest_seed_has_dice_too(opinion: Any) -> None:
    lost = {number for number in range(1, 17) if not opinion(2**64 - 1, {0: "loss 0.5"}, "r00", 1, "r01", number)[1]}
    assert lost == {1, 4, 5, 9, 12, 13, 14}


@OPINIONS
@pytest.mark.parametrize(
    ("target", "selected"),
    [
        ("r03", {(3, 5), (5, 3), (3, 4)}),
        ("r3,r05", {(3, 5), (5, 3), (3, 4), (5, 4)}),
        ("r03>r05", {(3, 5)}),
        ("r05..r07>r00..r04", {(5, 3), (5, 4), (6, 1)}),
        ("r00..r04|r05,r06", {(3, 5), (5, 3), (5, 4), (6, 1)}),
        ("r03|r04|r05", {(3, 5), (5, 3), (3, 4), (5, 4)}),
        ("r03..r05|r05..r06", {(3, 5), (5, 3), (5, 4)}),
    ],
)
def test_a_target_selects_what_it_must(opinion: Any, target: str, selected: set[tuple[int, int]]) -> None:
    cut = {
        (sender, receiver)
        for sender, receiver in ((3, 5), (5, 3), (3, 4), (5, 4), (6, 1))
        if not opinion(7, {0: f"partition {target}"}, f"r{sender:02d}", 1, f"r{receiver:02d}", 1)[1]
    }
    assert cut == selected


# For any plan, envelope and order.

chances = st.sampled_from([0.3, 0.7, 1.0, 0.05, 0.0]) | st.floats(0, 1)
robots = st.integers(0, 7)
lengths = st.sampled_from([1.0, 1.5, 2.0, 5.0, 40.0])
times_ms = st.integers(0, 400)


@st.composite
def sides(draw: st.DrawFn) -> str:
    spans = draw(st.lists(st.tuples(robots, robots), min_size=1, max_size=2))
    return ",".join(f"r{low:02d}..r{high:02d}" if low < high else f"r{low:02d}" for low, high in map(sorted, spans))


targets = st.one_of(
    sides(),
    st.tuples(sides(), sides()).map(">".join),
    st.lists(sides(), min_size=2, max_size=3).map("|".join),
)


@st.composite
def faults(draw: st.DrawFn) -> str:
    p, target = draw(chances), draw(st.just("") | targets)
    name = draw(
        st.sampled_from(["chance", "duplicate", "far", "hold", "lognormal", "throttle", "delay", "burst", "cut"])
    )
    if name in ("cut", "hold"):
        text = f"partition {'hold ' * (name == 'hold')}{target or draw(targets)}"
        return parse_fault(text).text()
    if name == "burst":
        length = draw(lengths)
        share = p * length / (length + 1) * 0.999
        text = f"burst-loss {share!r} {length!r}"
    elif name == "duplicate":
        text = f"duplicate {p!r} x{draw(st.integers(2, 10))}"
    elif name == "far":
        low, more = draw(times_ms), draw(times_ms)
        text = f"reorder {p!r} {low}ms..{low + more}ms"
    elif name == "delay":
        low, more = draw(times_ms), draw(times_ms)
        text = f"delay {low}ms..{low + more}ms"
    elif name == "lognormal":
        text = f"delay {draw(times_ms) + 1}ms~{draw(st.floats(0.01, 3))!r}"
    elif name == "throttle":
        text = f"throttle {draw(st.sampled_from(['5', '0.5', '1000']))}/s"
    else:
        text = f"{draw(st.sampled_from(['corrupt', 'reorder', 'loss']))} {p!r}"
    return parse_fault(f"{text} {target}").text()


@st.composite
def changes(draw: st.DrawFn, most: int = 6) -> PlanChange:
    texts = [draw(faults()) for _ in range(draw(st.integers(0, most)))]
    numbers = draw(st.lists(st.integers(0, 40), min_size=len(texts), max_size=len(texts), unique=True))
    return PlanChange(tuple(map(Planned, numbers, texts)))


sequences = st.integers(1, 40) | st.integers(1015, 1035) | st.integers(1, 5000)
pairs = st.tuples(robots, robots).filter(lambda pair: pair[0] != pair[1])
seeds = st.sampled_from([0, 7, 2**64 - 1])


@QUICK
@given(seeds, changes(), st.lists(st.tuples(pairs, st.integers(1, 3), sequences), min_size=1, max_size=12))
def test_the_judge_finds_the_fates_that_a_plan_decides(
    seed: int, change: PlanChange, envelopes: list[tuple[tuple[int, int], int, int]]
) -> None:
    # Given any plan, which ends 995 ms after the envelopes
    plan, dice = Plan(change), Dice(seed)
    book = Rulebook(seed, [plan_row("4-0", change), plan_row("1000-0", PlanChange(()))])
    for (sender, receiver), incarnation, sequence in envelopes:
        address = f"r{sender:02d}", incarnation, f"r{receiver:02d}", sequence
        # When the plan decides, and the judge recomputes
        expected = plan.fate(dice, *address)
        ruling = book.rule_on(key_of(0, "5-0"), fate_row(*address))
        # Then they decide the same, and agree on who is held back and who may be throttled
        is_held = expected.is_held and bool(expected.deliveries)
        deliveries = tuple(due + 995_000 for due in expected.deliveries) if is_held else expected.deliveries
        assert (ruling.fate, ruling.deliveries) == (state_of(expected), deliveries)
        assert tuple(rule.instance for rule in ruling.changed) == expected.faults
        assert [rule.instance for rule in ruling.throttles] == [instance for instance, _ in expected.throttles]
        held = Rulebook(seed, [plan_row("4-0", change)]).held_at_the_end(0, address[0], address[2])
        assert plan.holds(address[0], address[2]) == bool(held)


@st.composite
def outboxes(draw: st.DrawFn) -> list[tuple[str, Envelope | Control]]:
    """What stands in an outbox, in its order: envelopes, plans and births."""
    content: list[tuple[str, Envelope | Control]] = []
    at_ms = 1000
    names = [f"r{number:02d}" for number in range(4)]
    for number in range(draw(st.integers(10, 30))):
        at_ms += draw(st.sampled_from([1, 0, 30]))
        what = draw(st.integers(0, 9))
        entry: Envelope | Control
        if number in (0, 12) or what == 9:
            entry = draw(changes(5))
        elif what == 8:
            entry = Birth(draw(st.sampled_from(names)), draw(st.integers(1, 3)), "nonce")
        else:
            sender, receiver = draw(st.permutations(names))[:2]
            life = draw(st.integers(1, 3))
            entry = Envelope("abc123", sender, life, receiver, draw(sequences), bytes(8), "answer", b"body")
        content.append((f"{at_ms}-{number}", entry))
    return content


def offer(relay: Relay, content: Iterable[tuple[str, Envelope | Control]]) -> dict[str, Fate]:
    """The fates that a relay decides, by entry."""
    for entry, what in content:
        if isinstance(what, Envelope):
            relay.offer(OutboxEntry(entry, frame=encode(what)))
        else:
            relay.offer(OutboxEntry(entry, control=encode_control(what)))
    return {fate.entry: fate for fate in relay.fates()}


def recorded(fate: Fate, content: Iterable[tuple[str, Envelope | Control]]) -> FateRow:
    """The row of a fate. In `content` a number of dice has the text of the last plan before the entry."""
    assert fate.sender is not None
    texts = {
        planned.instance: planned.text
        for entry, what in content
        if isinstance(what, PlanChange) and parse_id(entry) < parse_id(fate.entry)
        for planned in what.faults
    }
    faults = tuple(PlannedFault(instance, texts[instance]) for instance in fate.faults)
    return FateRow(
        *(0, fate.entry, fate.sender, fate.incarnation, fate.receiver, fate.sequence, "", fate.kind),
        *(fate.state, faults, fate.deliveries, 0, 0),  # type: ignore[arg-type]
    )


def rulebook(seed: int, content: Iterable[tuple[str, Envelope | Control]]) -> Rulebook:
    return Rulebook(
        seed,
        [
            plan_row(entry, what) if isinstance(what, PlanChange) else BornRow(0, entry, what.robot, what.incarnation)
            for entry, what in content
            if not isinstance(what, Envelope)
        ],
    )


@QUICK
@given(seeds, outboxes())
def test_the_judge_finds_the_fates_that_a_relay_decides(
    seed: int, content: list[tuple[str, Envelope | Control]]
) -> None:
    # Given any outbox, once cut off at some point, and once ended by a plan without faults, as the lab ends it
    envelopes = {entry: what for entry, what in content if isinstance(what, Envelope)}
    ended = [*content, ("9000-0", PlanChange(()))]
    for outbox in (content, ended):
        # When a relay decides it, and another one takes over and decides it again, knowing all control entries
        fates = offer(Relay("abc123", seed), outbox)
        successor = Relay("abc123", seed)
        for entry, what in outbox:
            if not isinstance(what, Envelope):
                successor.remember(entry, what)
        inherited = offer(successor, [(entry, what) for entry, what in outbox if isinstance(what, Envelope)])
        book = rulebook(seed, outbox)
        rulings: dict[str, Ruling] = {
            entry: book.rule_on(
                key_of(0, entry), fate_row(what.sender, what.incarnation, what.receiver, what.sequence, entry)
            )
            for entry, what in envelopes.items()
        }
        # Then the judge finds what they decided, and that what has no fate is held back
        for decided_fates in (fates, inherited):
            for entry, ruling in rulings.items():
                if ruling.fate == "held":
                    assert entry not in decided_fates
                else:
                    assert fate_matches(recorded(decided_fates[entry], outbox), ruling), (decided_fates[entry], ruling)
        if outbox is ended:
            assert fates.keys() == envelopes.keys()


def test_what_a_partition_holds_arrives_when_no_partition_holds_its_pair() -> None:
    # Given an outbox in which a hold is followed by another one for the same pair, and by one for others
    def hold(target: str) -> PlanChange:
        return PlanChange((Planned(0, f"partition hold {target}"), Planned(1, "duplicate 1")))

    sent = Envelope("abc123", "r01", 1, "r02", 1, bytes(8), "answer", b"")
    content: list[tuple[str, Envelope | Control]] = [("1000-0", hold("r01"))]
    content += [("1005-0", sent), ("1500-0", hold("r02,r07")), ("2105-0", hold("r03")), ("3000-0", PlanChange(()))]
    # When the relay decides and the judge recomputes, with the plans that had come by then
    for known, expected in ((3, None), (4, (1_100_000, 1_100_000)), (5, (1_100_000, 1_100_000))):
        fates = offer(Relay("abc123", 7), content[:known])
        ruling = rulebook(7, content[:known]).rule_on(key_of(0, "1005-0"), fate_row("r01", 1, "r02", 1, "1005-0"))
        # Then it is the first plan under which the pair is free that lets both copies go
        assert (fates["1005-0"].deliveries if fates else None) == expected
        assert (ruling.deliveries if ruling.fate != "held" else None) == expected


def test_what_is_lost_is_lost_at_once_and_not_held() -> None:
    change = PlanChange((Planned(0, "partition hold r01"), Planned(1, "loss 1")))
    sent = Envelope("abc123", "r01", 1, "r02", 1, bytes(8), "answer", b"")
    content: list[tuple[str, Envelope | Control]] = [("1000-0", change), ("1005-0", sent)]
    ruling = rulebook(7, content).rule_on(key_of(0, "1005-0"), fate_row("r01", 1, "r02", 1, "1005-0"))
    assert (ruling.fate, ruling.deliveries) == ("lost", ())
    assert offer(Relay("abc123", 7), content)["1005-0"].deliveries == ()
