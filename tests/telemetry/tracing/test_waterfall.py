"""Every story of an exchange, drawn: what a person sees of it, to the letter."""

# ruff: noqa: E501  (drawings are as wide as they are)

from __future__ import annotations

import pytest

from telemetry.tracing.exchanges import traces_of
from telemetry.tracing.spans import Span, SpanKind, Trace
from telemetry.tracing.waterfall import NARROWEST_BAR, WIDEST_BAR, waterfall
from tests.telemetry.tracing import stories

DRAWN = {
    "clean": """
r04     exchange                     0.0  29.3 |██████████████████            | answered, wanted 143
r04       send summary               0.0   0.4 |▏                             |
relay:0     relay summary            0.0  13.0 |████████                      | delay 10.0 ms, lag 3.0 ms: delay 10ms
r02           process summary       14.9   0.2 |         ▏                    |
r02             send answer         15.1   0.5 |         ▏                    | parts 133
relay:0           relay answer      15.1  10.9 |         ███████              | delay 10.0 ms, lag 1.0 ms: delay 10ms
r04                 process answer  28.3   1.0 |                 █            |
r04                   merge         28.3   4.6 |                 ███          | merged 133, parts 0..132
r04       send update               29.3   1.3 |                  █           | parts 143
relay:0     relay update            29.3  12.7 |                  ████████    | delay 10.0 ms, lag 3.0 ms: delay 10ms
r02           process update        43.6   0.0 |                           ▏  |
r02             merge               43.6   4.3 |                           ███| merged 143, parts 133..275
""",
    "summary_lost": """
r00     exchange                     0.0  95.3 |██████████████████████████████| equal, attempts 2
r00       send summary               0.0   0.4 |▏                             | parts 19
relay:0     relay summary            0.0   0.0 |▏                             | ERROR lost: loss 0.2
r00       send summary              50.0   0.4 |               ▏              | attempt 1, parts 19
relay:0     relay summary           50.0  22.0 |               ███████        | delay 15.4 ms, lag 6.6 ms: delay 5ms..20ms
r04           process summary       74.8   0.2 |                       ▏      |
r04             merge               74.8   1.9 |                       █      | merged 15, parts 4..18
r04             send answer         75.0   0.2 |                       ▏      | parts 21
relay:0           relay answer      75.0  19.0 |                       ██████ | delay 17.2 ms, lag 1.8 ms: delay 5ms..20ms
r00                 process answer  95.3   0.0 |                             ▏| equal
""",
    "answer_lost": """
r03     exchange                 0.0 199.8 |██████████████████████████████████| ERROR timeout, attempts 3
r03       send summary           0.0   0.4 |▏                                 |
relay:0     relay summary        0.0   0.0 |▏                                 | ERROR lost: loss 0.2
r03       send summary          50.8   0.2 |        ▏                         | attempt 1
relay:0     relay summary       50.8  13.2 |        ██                        | corrupt, copies 2, delay 13.2 ms: duplicate 0.3, delay 5ms..20ms, corrupt 0.1
r04           refuse summary    61.0   0.0 |          ▏                       | ERROR bad checksum, copy 1
r04           refuse summary    68.9   0.0 |           ▏                      | ERROR bad checksum
r03       send summary         152.3   0.1 |                         ▏        | attempt 2
relay:0     relay summary      152.3  15.7 |                         ███      | delay 14.9 ms, lag 1.1 ms: delay 5ms..20ms
r04           process summary  168.3   0.1 |                            ▏     |
r04             send answer    168.4   0.2 |                            ▏     | parts 16
relay:0           relay answer 168.4   0.0 |                            ▏     | ERROR lost: loss 0.2
""",
    "answer_duplicated": """
r05     exchange                     0.0  46.9 |██████████████████████████████| answered
r05       send summary               0.0   0.7 |▏                             | parts 4
relay:0     relay summary            0.0  22.0 |██████████████                | delay 6.9 ms, lag 15.1 ms: delay 5ms..20ms
r02           process summary       23.2   0.2 |              ▏               |
r02             merge               23.2   0.9 |              █               | merged 4, parts 3, 5..7
r02             send answer         23.4   0.5 |              ▏               | parts 6
relay:0           relay answer      23.4  21.6 |              ██████████████  | copies 2, delay 21.9 ms: duplicate 0.3, delay 5ms..20ms
r05                 process answer  46.7   0.2 |                             ▏|
r05                   merge         46.7   0.8 |                             █| merged 6, parts 10..15
r05                 process answer  47.2   0.0 |                             ▏| copy 1, came again 1x
""",
    "delayed": """
r01     exchange                     0.0 101.7 |██████████████████████████████| answered
r01       send summary               0.0   0.2 |▏                             |
relay:0     relay summary            0.0  50.0 |███████████████               | delay 50.0 ms: delay 50ms
r05           process summary       51.0   0.1 |               ▏              |
r05             send answer         51.1   0.2 |               ▏              |
relay:0           relay answer      51.1  49.9 |               ███████████████| delay 50.0 ms: delay 50ms
r01                 process answer 101.6   0.1 |                             ▏|
""",
    "receiver_killed": """
r04     exchange                     0.0  63.4 |████████████████████          | equal
r04       send summary               0.0   0.3 |▏                             |
relay:0     relay summary            0.0   6.0 |██                            | delay 5.8 ms: delay 5ms..20ms
r00           process summary       86.1   0.4 |                          ▏   | incarnation 2
r00             send answer         86.5   0.3 |                          ▏   |
relay:0           relay answer      86.5  10.5 |                          ███ | delay 10.1 ms: delay 5ms..20ms
r04                 process answer  97.5   0.0 |                             ▏|
r00       send answer                7.0   0.0 |  ▏                           | witness fate
relay:0     relay answer             7.0  55.2 |  █████████████████           | delay 55.2 ms: reorder 0.1
r04           process answer        63.3   0.1 |                   ▏          | equal
""",
    "held": """
r03     exchange                      0.0  200.0 |██████                      | ERROR timeout, attempts 2
r03       send summary                0.0    0.7 |▏                           |
relay:0     relay summary             0.0    0.1 |▏                           | delay 0.1 ms
r02           process summary         1.4    0.1 |▏                           |
r02             send answer           1.5    0.2 |▏                           |
relay:0           relay answer        1.5 1000.5 |████████████████████████████| delay 1001.0 ms: partition hold r00..r02|r03..r05
r03                 process answer 1005.6    0.0 |                           ▏|
r03       send summary               25.3    0.3 |▏                           | attempt 1
relay:0     relay summary            25.3  976.7 |███████████████████████████ | delay 977.0 ms: partition hold r00..r02|r03..r05
r02           process summary      1006.6    0.2 |                           ▏|
r02             send answer        1006.8    0.6 |                           ▏|
relay:0           relay answer     1007.0    2.0 |                           ▏| delay 0.2 ms, lag 1.8 ms
r03                 process answer 1010.0    0.0 |                           ▏| late 1
""",
    "initiator_killed": """
r01     exchange                 0.0  15.0 |████████████████████████          | ERROR killed
r01       send summary           0.0   0.2 |▏                                 |
relay:0     relay summary        0.0  10.0 |████████████████                  | delay 10.0 ms: delay 10ms
r05           process summary   10.9   0.1 |                 ▏                |
r05             send answer     11.0   0.2 |                 ▏                |
relay:0           relay answer  11.0  10.0 |                 ████████████████ | delay 10.0 ms: delay 10ms
""",
}  # fmt: skip


def drawn(story: str, width: int = 120) -> list[str]:
    [trace] = traces_of(getattr(stories, story)().history())
    return list(waterfall(trace, width))


def named(service: str, name: str) -> Trace:
    return Trace((Span(1, 2, None, name, SpanKind.INTERNAL, service, "", 0, 10, "", ()),))


@pytest.mark.parametrize("story", DRAWN)
def test_a_story_is_drawn_as_it_happened(story: str) -> None:
    assert drawn(story) == DRAWN[story].strip("\n").splitlines()


@pytest.mark.parametrize("width", [0, 60, 100, 160, 400])
def test_bars_are_as_wide_as_the_screen_allows(width: int) -> None:
    # Given a trace that is drawn for a screen
    lines = drawn("clean", width)
    # Then every bar has the same width, and one that can still be read
    bars = [line.split("|")[1] for line in lines]
    assert len({len(bar) for bar in bars}) == 1
    assert NARROWEST_BAR <= len(bars[0]) <= WIDEST_BAR


def test_a_deep_name_is_cut_where_the_screen_is_narrow() -> None:
    [line] = waterfall(named("r00", "restart " + "x" * 80), 80)

    assert "…" in line
    assert len(line) < 120


def test_no_control_character_reaches_the_terminal() -> None:
    # Given names and values that came over the network
    evil = "\x1b[31m\r\n\x07"
    attributes = (("gossip.why", evil), ("gossip.faults", evil))
    span = Span(1, 2, None, evil, SpanKind.INTERNAL, evil, "", 0, 10, evil, attributes)
    # When they are drawn
    [line] = waterfall(Trace((span,)), 200)
    # Then what reaches the terminal is printable
    assert line.isprintable()
    assert "\\x1b[31m" in line


def test_a_trace_of_no_length_is_drawn() -> None:
    span = Span(1, 2, None, "plan", SpanKind.INTERNAL, "lab", "", 5, 5, "", ())

    [line] = waterfall(Trace((span,)), 120)

    assert "▏" in line


def test_spans_without_their_root_stand_at_the_edge() -> None:
    # Given what came late for an exchange: its parent was given out before
    [trace] = traces_of(stories.clean().history())
    late = Trace(trace.spans[3:5])
    # When it is drawn
    lines = list(waterfall(late, 120))
    # Then nothing is missing
    assert len(lines) == 2
    assert not lines[0].split(maxsplit=1)[1].startswith(" ")
