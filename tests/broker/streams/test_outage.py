"""What a process says of a server that is away, and when it gives it up."""

from __future__ import annotations

import pytest

from broker.streams.outage import ServerGone, ServerWatch


class Watched:
    """A watch under a clock of the test's own."""

    def __init__(self, limit_s: float | None = 60.0) -> None:
        self.now_s = 1000.0
        self.lines: list[str] = []
        self.watch = ServerWatch(self.lines.append, limit_s, lambda: self.now_s)

    def silent_for(self, seconds: float, every_s: float = 0.5) -> None:
        self.watch.silent()
        for _ in range(round(seconds / every_s)):
            self.now_s += every_s
            self.watch.silent()


def test_an_outage_costs_one_line_when_it_begins_and_one_when_it_is_over() -> None:
    # Given a server that is away for twenty seconds
    watched = Watched()
    watched.watch.answered()
    watched.silent_for(20)
    # When it is back
    watched.watch.answered()
    watched.watch.answered()
    # Then two lines tell
    assert watched.lines == [
        "the server does not answer; waiting for it, at most 60 s",
        "the server answers again, after 20 s",
    ]
    # And the next outage has lines of its own
    watched.silent_for(20)
    watched.watch.answered()
    assert len(watched.lines) == 4


def test_a_server_that_is_started_again_within_a_moment_costs_no_line() -> None:
    watched = Watched()
    watched.silent_for(0.9, every_s=0.1)
    watched.watch.answered()
    assert watched.lines == []


def test_a_server_that_is_away_for_the_whole_limit_is_given_up() -> None:
    watched = Watched()
    watched.silent_for(59.5)
    with pytest.raises(ServerGone, match="has not answered for 60 s"):
        watched.silent_for(0.5)


def test_each_answer_begins_the_limit_anew() -> None:
    watched = Watched()
    for _ in range(5):
        watched.silent_for(40)
        watched.watch.answered()


def test_a_command_that_stays_waits_without_an_end() -> None:
    watched = Watched(limit_s=None)
    watched.silent_for(3600)
    assert watched.lines == ["the server does not answer; waiting for it"]


def test_a_process_that_was_stopped_itself_gives_its_server_the_whole_limit() -> None:
    # Given a process that did not ask for an hour
    watched = Watched()
    watched.watch.answered()
    watched.now_s += 3600
    # When the server does not answer then
    watched.silent_for(59)
    # Then it is waited for
    assert watched.watch.away_s == 59
