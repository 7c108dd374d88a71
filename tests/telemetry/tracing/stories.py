"""The seven stories of an exchange, as they happened in real runs: hand-made from those times. No tests here."""

from __future__ import annotations

from telemetry.record.rows import PlannedFault, PlanRow
from tests.telemetry.tracing.story import Story

DELAY = "delay 5ms..20ms"
HOLD = "partition hold r00..r02|r03..r05"


def clean() -> Story:
    """Three messages: a summary, an answer with parts, and the update that it requested."""
    story = Story()
    summary = story.sent("summary", "r04 r02", 0.0, 0.4)
    story.fate("summary", summary, 0.2, [10.0], "delay 10ms")
    story.taken("summary", summary, 13.8, 14.9)
    answer = story.sent("answer", "r02 r04", 15.1, 0.5, parts=133, cause=(1, 1, 0))
    story.fate("answer", answer, 15.3, [10.0], "delay 10ms")
    story.taken("answer", answer, 26.8, 28.3)
    story.ended("r04 r02", 29.3, "answered", wanted=143)
    update = story.sent("update", "r04 r02", 29.3, 1.3, sequence=2, parts=143, cause=(1, 1, 0))
    story.merged(answer, 32.9, tuple(range(133)), 276)
    story.fate("update", update, 29.8, [10.0], "delay 10ms")
    story.taken("update", update, 42.8, 43.6)
    story.merged(update, 47.9, tuple(range(133, 276)), 276)
    return story


def summary_lost() -> Story:
    """The first summary is lost; the second one has to wait for a slow relay."""
    story = Story()
    first = story.sent("summary", "r00 r04", 0.0, 0.4, parts=19)
    story.fate("summary", first, 0.1, [], "loss 0.2")
    second = story.sent("summary", "r00 r04", 50.0, 0.4, sequence=2, parts=19, attempt=1)
    story.fate("summary", second, 50.2, [15.4], DELAY)
    story.taken("summary", second, 72.8, 74.8)
    answer = story.sent("answer", "r04 r00", 75.0, 0.2, parts=21, cause=(1, 2, 0))
    story.merged(second, 76.7, tuple(range(4, 19)), 40)
    story.fate("answer", answer, 75.1, [17.2], DELAY)
    story.taken("answer", answer, 94.7, 95.3)
    story.ended("r00 r04", 95.3, "equal", attempts=2)
    return story


def answer_lost() -> Story:
    """A summary is lost, one comes twice and damaged, and the answer to the third is lost: the exchange times out."""
    story = Story()
    first = story.sent("summary", "r03 r04", 0.0, 0.4)
    story.fate("summary", first, 0.1, [], "loss 0.2")
    second = story.sent("summary", "r03 r04", 50.8, 0.2, sequence=2, attempt=1)
    story.fate("summary", second, 50.9, [13.2, 8.1], "duplicate 0.3", DELAY, "corrupt 0.1", word="corrupt")
    story.refused("summary", second, 59.0, 61.0, copy=1)
    story.refused("summary", second, 64.8, 68.9)
    third = story.sent("summary", "r03 r04", 152.3, 0.1, sequence=3, attempt=2)
    story.fate("summary", third, 152.4, [14.9], DELAY)
    story.taken("summary", third, 168.0, 168.3)
    answer = story.sent("answer", "r04 r03", 168.4, 0.2, parts=16, cause=(1, 3, 0))
    story.fate("answer", answer, 168.5, [], "loss 0.2")
    story.ended("r03 r04", 199.8, "timeout", attempts=3)
    return story


def answer_duplicated() -> Story:
    """The answer comes twice; the second copy teaches nothing."""
    story = Story()
    summary = story.sent("summary", "r05 r02", 0.0, 0.7, parts=4)
    story.fate("summary", summary, 0.3, [6.9], DELAY)
    story.taken("summary", summary, 22.3, 23.2)
    answer = story.sent("answer", "r02 r05", 23.4, 0.5, parts=6, cause=(1, 1, 0))
    story.merged(summary, 24.1, (3, 5, 6, 7), 20)
    story.fate("answer", answer, 23.6, [18.3, 21.9], "duplicate 0.3", DELAY)
    story.taken("answer", answer, 42.1, 46.7)
    story.ended("r05 r02", 46.9, "answered")
    story.taken("answer", answer, 45.3, 47.2, copy=1)
    story.repeated(answer, 47.3, copy=1)
    story.merged(answer, 47.5, (10, 11, 12, 13, 14, 15), 26)
    return story


def delayed() -> Story:
    """Every message takes 50 ms."""
    story = Story()
    summary = story.sent("summary", "r01 r05", 0.0, 0.2)
    story.fate("summary", summary, 0.1, [50.0], "delay 50ms")
    story.taken("summary", summary, 50.0, 51.0)
    answer = story.sent("answer", "r05 r01", 51.1, 0.2, cause=(1, 1, 0))
    story.fate("answer", answer, 51.2, [50.0], "delay 50ms")
    story.taken("answer", answer, 101.1, 101.6)
    story.ended("r01 r05", 101.7, "answered")
    return story


def receiver_killed() -> Story:
    """r00/1 answered, and was killed before it could report that; r00/2 finds the summary in its inbox, and answers
    again."""
    story = Story()
    summary = story.sent("summary", "r04 r00", 0.0, 0.3)
    story.fate("summary", summary, 0.1, [5.8], DELAY)
    unreported = ("r00", 1, "r04", 1)
    story.fate("answer", unreported, 7.1, [55.2], "reorder 0.1")
    story.died("r00", 1, 8.0)
    story.taken("answer", unreported, 62.3, 63.3)
    story.ended("r04 r00", 63.4, "equal")
    story.taken("summary", summary, 6.4, 86.1, life=2)
    answer = story.sent("answer", "r00 r04", 86.5, 0.3, life=2, cause=(1, 1, 0))
    story.fate("answer", answer, 86.6, [10.1], DELAY)
    story.taken("answer", answer, 97.1, 97.5)
    return story


def held() -> Story:
    """A partition holds the answer back for a second, and then frees it: too late for its exchange."""
    story = Story()
    for entry_ms, faults in ((1.0, [PlannedFault(0, HOLD)]), (1002.0, [])):
        story.controls.append(PlanRow(0, story.entry(entry_ms), tuple(faults), "", "", ""))
    summary = story.sent("summary", "r03 r02", 0.0, 0.7)
    story.fate("summary", summary, 0.1, [0.1])
    story.taken("summary", summary, 0.9, 1.4)
    answer = story.sent("answer", "r02 r03", 1.5, 0.2, cause=(1, 1, 0))
    story.fate("answer", answer, 1.6, [1001.0], HOLD, stored_ms=1002.1)
    again = story.sent("summary", "r03 r02", 25.3, 0.3, sequence=2, attempt=1)
    story.fate("summary", again, 25.4, [977.0], HOLD, stored_ms=1002.1)
    story.ended("r03 r02", 200.0, "timeout", attempts=2)
    story.taken("answer", answer, 1002.9, 1005.6)
    story.taken("summary", again, 1002.9, 1006.6)
    second = story.sent("answer", "r02 r03", 1006.8, 0.6, sequence=2, cause=(1, 2, 0))
    story.fate("answer", second, 1007.2, [0.2])
    story.taken("answer", second, 1009.1, 1010.0, late=1)
    return story


def initiator_killed() -> Story:
    """The summary was answered, but its sender was killed before the answer came."""
    story = Story()
    summary = story.sent("summary", "r01 r05", 0.0, 0.2)
    story.fate("summary", summary, 0.1, [10.0], "delay 10ms")
    story.taken("summary", summary, 10.2, 10.9)
    answer = story.sent("answer", "r05 r01", 11.0, 0.2, cause=(1, 1, 0))
    story.fate("answer", answer, 11.1, [10.0], "delay 10ms")
    story.died("r01", 1, 15.0)
    return story
