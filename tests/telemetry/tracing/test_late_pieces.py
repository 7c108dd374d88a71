"""What a follower gives out when pieces of an exchange come late, in an order that no record shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from telemetry.events import RobotBorn, TicksExecuted
from telemetry.record.rows import DeathRow
from telemetry.tracing.clocks import Envelope
from telemetry.tracing.exchanges import ExchangeFold
from telemetry.tracing.spans import Span
from tests.telemetry.tracing.story import EXCHANGE, START_MS, Story


@dataclass
class Following:
    """A fold to which a story is told piece by piece."""

    story: Story = field(default_factory=Story)
    fold: ExchangeFold = field(default_factory=lambda: ExchangeFold("7b08e1", 7))
    told: int = 0

    def tell(self) -> list[Span]:
        """What is given out after all events that are new were read."""
        for stamped in self.story.events[self.told :]:
            self.fold.event(stamped)
        self.told = len(self.story.events)
        return [span for trace in self.fold.complete() for span in trace.spans]

    def fate(self, kind: str, envelope: Envelope, at_ms: float, delays_ms: list[float]) -> None:
        self.fold.fate(self.story.fate(kind, envelope, at_ms, delays_ms))

    def living(self, at_ms: float) -> list[Span]:
        """Both robots live at that time."""
        for robot in ("r04", "r02"):
            self.story.event(robot, at_ms, TicksExecuted(1))
        return self.tell()


def born() -> Following:
    following = Following()
    for robot in ("r04", "r02"):
        following.story.event(robot, -10.0, RobotBorn(parts=1, replayed=0))
    following.tell()
    return following


def named(spans: list[Span]) -> list[str]:
    return [span.name for span in spans]


def test_a_message_whose_fate_is_known_is_waited_for_until_its_sender_reports_it() -> None:
    # Given an exchange that has ended, whose answer is known by its fate, and not yet by its sender
    following = born()
    story = following.story
    summary = story.sent("summary", "r04 r02", 0.0, 0.2)
    following.fate("summary", summary, 0.1, [5.0])
    answer: Envelope = ("r02", 1, "r04", 1)
    following.fate("answer", answer, 6.0, [5.0])
    story.taken("answer", answer, 11.0, 11.5)
    story.ended("r04 r02", 11.6, "equal")
    assert following.living(100.0) == []

    # When its sender reports it
    story.taken("summary", summary, 5.1, 5.5)
    story.sent("answer", "r02 r04", 5.6, 0.5, cause=(1, 1, 0))

    # Then all of it is given out, and no message has a fate for its only witness
    spans = following.tell()
    assert named(spans) == [
        *("exchange", "send summary", "relay summary", "process summary", "send answer", "relay answer"),
        "process answer",
    ]
    assert [span for span in spans if ("gossip.witness", "fate") in span.attributes] == []


def test_what_comes_late_is_given_out_when_it_is_complete() -> None:
    # Given an exchange that was given out: its peer died before it answered
    following = born()
    story = following.story
    summary = story.sent("summary", "r04 r02", 0.0, 0.2)
    following.fate("summary", summary, 0.1, [5.0])
    story.ended("r04 r02", 200.0, "timeout")
    following.fold.death(DeathRow(story.entry(4.0), "r02", "r02", 1, "signal", -9))
    story.event("r04", 1500.0, TicksExecuted(1))
    assert named(following.tell()) == ["exchange", "send summary", "relay summary"]

    # When the peer's next life takes the summary, nothing is given out before its answer is known, and taken
    story.event("r02", 1510.0, RobotBorn(parts=1, replayed=1), life=2)
    story.taken("summary", summary, 5.1, 1520.0, life=2)
    assert following.tell() == []
    answer = story.sent("answer", "r02 r04", 1520.5, 0.5, life=2, cause=(1, 1, 0))
    assert following.tell() == []
    following.fate("answer", answer, 1520.7, [5.0])
    assert following.tell() == []
    story.taken("answer", answer, 1525.7, 1526.0)

    # Then they are given out together
    spans = following.tell()
    assert named(spans) == ["process summary", "send answer", "relay answer", "process answer"]
    assert [span.end_us - span.start_us for span in spans[:2]] == [500, 500]


def test_what_comes_late_and_stays_incomplete_is_given_out_after_a_second() -> None:
    # Given an exchange that was given out, and a copy of it that was taken late, and never answered
    following = born()
    story = following.story
    summary = story.sent("summary", "r04 r02", 0.0, 0.2)
    following.fate("summary", summary, 0.1, [5.0])
    story.ended("r04 r02", 200.0, "timeout")
    assert named(following.living(1500.0)) == ["exchange", "send summary", "relay summary"]
    story.taken("summary", summary, 5.1, 1600.0)
    assert following.living(1650.0) == []
    assert following.living(2600.0) == []

    # Then it is given out a second later
    assert named(following.living(2700.0)) == ["process summary"]


def test_a_late_span_begins_no_earlier_than_its_parent_that_is_out() -> None:
    # Given an exchange that was given out with a message that only its fate knew, 40 ms after it was offered
    following = born()
    story = following.story
    first = story.sent("summary", "r04 r02", 0.0, 60.0)
    following.fate("summary", first, 50.0, [])
    retried: Envelope = ("r04", 1, "r02", 2)
    following.fate("summary", retried, 90.0, [0.0])
    story.ended("r04 r02", 200.0, "timeout")
    out = {span.span: span for span in following.living(1500.0)}
    assert "relay summary" in named(list(out.values()))

    # When the report comes, and the peer took the copy at the first moment of its millisecond
    story.sent("summary", "r04 r02", 50.0, 100.0, sequence=2, attempt=1)
    story.taken("summary", retried, 90.0, 89.9)
    late = [*following.living(1600.0), *(span for trace in following.fold.finish() for span in trace.spans)]

    # Then what is late lies behind its parent as that was given out
    assert named(late) == ["process summary"]
    [process] = late
    assert process.parent is not None
    assert process.start_us >= out[process.parent].start_us
    assert process.end_us >= process.start_us


def test_a_life_that_is_followed_by_another_has_ended_even_if_its_death_was_noticed_later() -> None:
    # Given a robot whose second life was born before anybody noticed the death of its first, while it had an exchange
    following = born()
    story = following.story
    summary = story.sent("summary", "r04 r02", 0.0, 0.2)
    following.fate("summary", summary, 0.1, [])
    story.event("r04", 70.0, RobotBorn(parts=1, replayed=1), life=2)
    following.fold.death(DeathRow(story.entry(90.0), "r04", "r04", 1, "signal", -9))
    following.tell()

    # Then the exchange ended, at the latest, when the second life was born
    [trace] = following.fold.finish()
    root = trace.spans[0]
    assert root.error == "killed"
    assert root.end_us == START_MS * 1000 + 70_000
    assert dict(root.attributes)["gossip.exchange"] == EXCHANGE
