"""The page of faults as text, for one scripted run, at the smallest size, wide, and in ASCII."""

from __future__ import annotations

import pytest

from telemetry.drawing.faults.page import rows
from telemetry.drawing.moment import KnobState, Status
from telemetry.events import FaultInjected, InjectionFailed, MessageReceived, MessageSent, RunStopped
from tests.telemetry.knobs.scripted import Script, drawn

SPLIT = "partition hold r00..r02|r03..r05"
PENDING = KnobState(
    knob="loss",
    pending="0.4",
    same_as='robots faults set "loss 0.4" f00000',
    log=("done run f00000: kill r03; it died   same as: robots kill r03 f00000",),
)


def stormy() -> Script:
    """A partition for three seconds, a loss that was turned up, and three injections."""
    script = Script(f"{SPLIT} @0s+3s").begin().plan(2, "loss 0.1", "duplicate 0.05", SPLIT)
    script.fates(100, 400, lost=50, duplicated=20, kept=7)
    script.plan(1000, "loss 0.3", "duplicate 0.05", SPLIT, request="set loss .3")
    script.fates(1100, 50, lost=9).fates(1500, 1000, lost=310, duplicated=30, delayed=20)
    script.emit(1600, "supervisor", FaultInjected("kill", "robot", "r03"))
    script.emit(1700, "supervisor", FaultInjected("pause", "r01", "r01"))
    return script.emit(1800, "supervisor", InjectionFailed("resume", "r04", "no pause of r04 has begun"))


SMALL = """\
 FAULTS     SET (all)          LAST 5 S  SINCE SET  95% BAND             RUN
 loss       ████░░░░░░░░  30%   25.4%     31.0%     28.2-33.9%   inside   25.4%
 duplicate  █░░░░░░░░░░░   5%    4.6%      4.6%     3.5-6.0%     inside    4.6%
 corrupt    ░░░░░░░░░░░░ off     0.0%      0.0%     0.0-0.4%     inside    0.0%
 reorder    ░░░░░░░░░░░░ off   counted with delay
 delay      off                  1.9%      1.9%                            1.9%
 partition  hold r00..r02|r03… held back now: 7
 IN FORCE
  duplicate 0.05                    for 1.8 s, no end known
  partition hold r00..r02|r03..r05  for 1.8 s, ends in 1.2 s
  loss 0.3                          for 0.8 s, no end known
 DONE kill 1  pause 1  not done 1
     1.8 s  resume r04  not done: no pause of r04 has begun
     1.7 s  pause r01
     1.6 s  kill robot, which was r03
     1.0 s  request: set loss .3
 done run f00000: kill r03; it died   same as: robots kill r03 f00000
 pending: loss 30% -> 40%   enter applies  esc drops it
 same as: robots faults set "loss 0.4" f00000
 j k knob  + - step  0 clear  e any fault  t n p target  H heal all
 K kill  P pause  R resume  C crash  X contradict  A amnesia"""

WIDE = """\
 FAULTS     SET (all)          LAST 5 S  SINCE SET  95% BAND             RUN
 loss       ████░░░░░░░░  30%   25.4%     31.0%     28.2-33.9%   inside   25.4%
 duplicate  █░░░░░░░░░░░   5%    4.6%      4.6%     3.5-6.0%     inside    4.6%
 corrupt    ░░░░░░░░░░░░ off     0.0%      0.0%     0.0-0.4%     inside    0.0%
 reorder    ░░░░░░░░░░░░ off   counted with delay
 delay      off                  1.9%      1.9%                            1.9%
 partition  hold r00..r02|r03… held back now: 7
 IN FORCE                                                    │  DONE kill 1  pause 1  not done 1
  duplicate 0.05                    for 1.8 s, no end known  │      1.8 s  resume r04  not done: no pause of r04 has be…
  partition hold r00..r02|r03..r05  for 1.8 s, ends in 1.2 s │      1.7 s  pause r01
  loss 0.3                          for 0.8 s, no end known  │      1.6 s  kill robot, which was r03
                                                             │      1.0 s  request: set loss .3
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
                                                             │
 done run f00000: kill r03; it died   same as: robots kill r03 f00000
 pending: loss 30% -> 40%   enter applies  esc drops it
 same as: robots faults set "loss 0.4" f00000
 j k knob  + - step  0 clear  e any fault  t n p target  H heal all
 K kill  P pause  R resume  C crash  X contradict  A amnesia"""

ASCII = """\
 FAULTS     SET (all)          LAST 5 S  SINCE SET  95% BAND             RUN
 loss       ####--------  30%   25.4%     31.0%     28.2-33.9%   inside   25.4%
 duplicate  #-----------   5%    4.6%      4.6%     3.5-6.0%     inside    4.6%
 corrupt    ------------ off     0.0%      0.0%     0.0-0.4%     inside    0.0%
 reorder    ------------ off   counted with delay
 delay      off                  1.9%      1.9%                            1.9%
 partition  hold r00..r02|r03… held back now: 7
 IN FORCE
  duplicate 0.05                    for 1.8 s, no end known
  partition hold r00..r02|r03..r05  for 1.8 s, ends in 1.2 s
  loss 0.3                          for 0.8 s, no end known
 DONE kill 1  pause 1  not done 1
     1.8 s  resume r04  not done: no pause of r04 has begun
     1.7 s  pause r01
     1.6 s  kill robot, which was r03
     1.0 s  request: set loss .3
 done run f00000: kill r03; it died   same as: robots kill r03 f00000
 pending: loss 30% -> 40%   enter applies  esc drops it
 same as: robots faults set "loss 0.4" f00000
 j k knob  + - step  0 clear  e any fault  t n p target  H heal all
 K kill  P pause  R resume  C crash  X contradict  A amnesia"""


@pytest.mark.parametrize(
    ("size", "is_ascii", "expected"),
    [((80, 21), False, SMALL), ((120, 37), False, WIDE), ((80, 21), True, ASCII)],
    ids=["80x24", "120x40", "ascii"],
)
def test_the_page_shows_what_is_set_and_measured_in_force_and_done(
    size: tuple[int, int], is_ascii: bool, expected: str
) -> None:
    page = drawn(stormy().moment(knobs=PENDING), *size, is_ascii=is_ascii)

    assert "\n".join(page) == expected
    assert all(line.replace("…", "").isascii() for line in page) or not is_ascii


def test_what_is_not_known_is_shown_so() -> None:
    page = "\n".join(drawn(Script("loss 0.2").begin().moment()))

    assert "unknown: no relay has reported its plan yet" in page
    assert page.count("unknown") == 6 + 5 * 3 + 1  # six knobs, and three rates of all but partitions


def test_the_times_that_envelopes_took_lately_stand_beside_their_delay() -> None:
    script = Script().begin().plan(1, "delay 20ms")
    for number in range(1, 101):
        sent = MessageSent("r01", number, "summary", "", parts=0, size=9, waited_us=0)
        received = MessageReceived("r00", 1, number, 0, "summary", "", late=0, entry="1-1")
        pair = [(number * 10, "r00", sent), (number * 10 + number, "r01", received)]
        for at_ms, source, event in reversed(pair) if number % 2 else pair:  # the receiver's report may come first
            script.emit(at_ms, source, event)

    assert "p50 51 p99 100 ms" in drawn(script.moment())[5]


def test_a_rate_that_differs_from_what_is_set_is_marked() -> None:
    script = Script().begin().plan(1, "loss 0.5").fates(10, 1000, lost=300)

    assert "27.2-32.9%   OUTSIDE" in "\n".join(drawn(script.moment()))


@pytest.mark.parametrize("other", ["burst-loss 0.2 5", "partition r00|r01", "loss 0.1 r03"])
def test_a_rate_is_compared_with_nothing_while_other_faults_have_a_share_in_it(other: str) -> None:
    script = Script().begin().plan(1, "loss 0.3", other).fates(10, 1000, lost=300)
    (loss,) = [line for line in drawn(script.moment()) if line.startswith(" loss ")]

    assert "27.2-32.9%" in loss
    assert "inside" not in loss.lower()


def test_a_knob_for_one_robot_shows_what_is_set_for_it() -> None:
    script = Script().begin().plan(1, "loss 0.3", "loss 0.8 r02")

    assert " 80%" in drawn(script.moment(knobs=KnobState(target="r02")))[1]
    assert "SET (r02)" in drawn(script.moment(knobs=KnobState(target="r02")))[0]
    # and what relays count for all robots is not compared with it
    script.fates(10, 1000, lost=300)
    assert "OUTSIDE" not in "\n".join(drawn(script.moment(knobs=KnobState(target="r02"))))


def test_after_the_order_to_stop_nothing_can_be_changed() -> None:
    script = stormy().emit(5000, "run", RunStopped("complete")).plan(5001)
    page = "\n".join(drawn(script.moment()))

    assert "the run is over: nothing can be changed any more" in page
    assert "IN FORCE AT THE END" in page
    assert "  loss 0.3  " in page
    assert "enter" not in page


def test_what_is_being_done_is_shown_until_it_is_answered() -> None:
    page = drawn(stormy().moment(knobs=KnobState(busy="kill r03", target="r03"), status=Status()))

    assert " the run is asked: kill r03 …" in page


def test_the_cursor_moves_over_the_knobs() -> None:
    assert rows(stormy().moment()) == ["loss", "duplicate", "corrupt", "reorder", "delay", "partition"]
