"""What a follower gives out when pieces of an exchange come late, in an order that no record shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from telemetry.events import RobotBorn, TicksExecuted
from telemetry.record.clocks import Envelope
from telemetry.record.rows import DeathRow
from telemetry.tracing.exchanges import ExchangeFold
from telemetry.tracing.spans import Span
from tests.telemetry.tracing.story import EXCHANGE, START_MS, Story


@dataclass
class Following:
    """A fold that reads a story piece by piece."""

    story: Story = field(default_factory=Story)
    fold: ExchangeFold = field(default_factory=lambda: ExchangeFold("7b08e1", 7))
    done: int = 0

    def read(self) -> list[Span]:
        """What is given out after all events that are new were read."""
        for stamped in self.story.events[self.done :]:
            self.fold.event(stamped)
        self.done = len(self.story.events)
        return [span for trace in self.fold.complete() for span in trace.spans]

    def fate(self, kind: str, envelope: Envelope, at_ms: float, delays_ms: list[float]) -> None:
        self.fold.fate(self.story.fate(kind, envelope, at_ms, delays_ms))

    def living(self, at_ms: float) -> list[Span]:
        """Both robots live at that time."""
        for robot in ("r04", "r02"):
            self.story.event(robot, at_ms, TicksExecuted(1))
        return self.read()


def born() -> Following:
    following = Following()
    for robot in ("r04", "r02"):
        following.story.event(robot, -10.0, RobotBorn(parts=1, replayed=0))
    following.read()
    return following


def named(spans: list[Span]) -> list[str]:
    return [span.name for span in spans]


def test_a_message_whose_fate_is_known_is_waited_for_until_its_sender_reports_it() -> None:
    # Given an exchange that has ended, with a second summary that is known by its fate, and not yet by its sender
    following = born()
    story = following.story
    summary = story.sent("summary", "r04 r02", 0.0, 0.2)
    following.fate("summary", summary, 0.1, [55.0])
    following.fate("summary", ("r04", 1, "r02", 2), 50.5, [])
    story.taken("summary", summary, 55.1, 55.5)
    answer = story.sent("answer", "r02 r04", 55.6, 0.5, cause=(1, 1, 0))
    following.fate("answer", answer, 56.0, [5.0])
    story.taken("answer", answer, 61.0, 61.5)
    story.ended("r04 r02", 61.6, "equal", attempts=2)
    assert following.living(100.0) == []

    # When its sender reports it
    story.sent("summary", "r04 r02", 50.0, 90.0, sequence=2, attempt=1)

    # Then all of it is given out, and no message has a fate for its only witness
    spans = following.read()
    assert named(spans).count("send summary") == named(spans).count("relay summary") == 2
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
    assert named(following.read()) == ["exchange", "send summary", "relay summary"]

    # When the peer's next life takes the summary, nothing is given out before its answer is known, and taken
    story.event("r02", 1510.0, RobotBorn(parts=1, replayed=1), life=2)
    story.taken("summary", summary, 5.1, 1520.0, life=2)
    assert following.read() == []
    answer = story.sent("answer", "r02 r04", 1520.5, 0.5, life=2, cause=(1, 1, 0))
    assert following.read() == []
    following.fate("answer", answer, 1520.7, [5.0])
    assert following.read() == []
    story.taken("answer", answer, 1525.7, 1526.0)

    # Then they are given out together
    spans = following.read()
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
    # Given an exchange that was given out from its second summary on: all that is known of the first one comes late
    following = born()
    story = following.story
    second = story.sent("summary", "r04 r02", 50.0, 0.5, sequence=2, attempt=1)
    following.fate("summary", second, 50.2, [])
    story.ended("r04 r02", 200.0, "timeout", attempts=2)
    root = following.living(32_000.0)[0]
    assert root.parent is None

    # When the fate of the first one comes
    following.fate("summary", ("r04", 1, "r02", 1), 0.2, [])
    late = [span for trace in following.fold.finish() for span in trace.spans]

    # Then its spans do not begin before their parents, as these were given out
    assert named(late) == ["send summary", "relay summary"]
    assert late[0].parent == root.span
    assert all(root.start_us <= span.start_us <= span.end_us for span in late)


def test_a_life_that_is_followed_by_another_has_ended_even_if_its_death_was_noticed_later() -> None:
    # Given a robot whose second life was born before anybody noticed the death of its first, while it had an exchange
    following = born()
    story = following.story
    summary = story.sent("summary", "r04 r02", 0.0, 0.2)
    following.fate("summary", summary, 0.1, [])
    story.event("r04", 70.0, RobotBorn(parts=1, replayed=1), life=2)
    following.fold.death(DeathRow(story.entry(90.0), "r04", "r04", 1, "signal", -9))
    following.read()

    # Then the exchange ended, at the latest, when the second life was born
    [trace] = following.fold.finish()
    root = trace.spans[0]
    assert root.error == "killed"
    assert root.end_us == START_MS * 1000 + 70_000
    assert dict(root.attributes)["gossip.exchange"] == EXCHANGE
