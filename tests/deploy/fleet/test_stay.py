"""A command that stays on a server: a child for each task that is found, whatever becomes of the others. The children
and the time are virtual."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from broker.errors import Unavailable
from deploy.errors import ENVIRONMENT, USAGE
from deploy.fleet.stay import FIRST_DELAY_S, LONGEST_DELAY_S, POLL_S, StayingGroup
from deploy.processes.children import ChildDeath

WAITING = "nothing to do; waiting"
FOR_EVER = (1e9, 0)


class Host:
    """Children that live as they are told here: `lives` has, by name, seconds and status of each life to come; a name
    without any lives for ever. A signal comes after `until_s`."""

    def __init__(self, until_s: float, **lives: list[tuple[float, int]]) -> None:
        self.now_s = 100.0
        self.begun_s = self.now_s
        self.lives = lives
        self.tasks: list[str] = sorted(lives)
        self.is_server_there = True
        self.living: dict[str, int] = {}
        self.ends: dict[str, tuple[float, int]] = {}
        self.starts: list[tuple[float, str]] = []
        self.lines: list[str] = []
        self.hung_up = 0
        self.is_connected = False
        self.ended_in_order: list[str] = []
        self.shutdown: Any = SimpleNamespace(reason=None, read_end=-1, drain=lambda: None)
        self.until_s = self.now_s + until_s
        self.plans: dict[float, Any] = {}  # what happens, by time since the beginning

    def stay(self) -> Host:
        group = StayingGroup(
            self.find,
            self.hang_up,
            WAITING,
            self.lines.append,
            children=self,  # type: ignore[arg-type]
            clock=lambda: self.now_s,
        )
        group.run(self.shutdown)
        return self

    def find(self) -> dict[str, Any]:
        if not self.is_server_there:
            raise Unavailable("away")
        self.is_connected = True
        return {name: lambda: 0 for name in self.tasks}

    def hang_up(self) -> None:
        self.is_connected = False

    def start(self, name: str, _body: object, _log: object) -> int:
        assert not self.is_connected, "a child must not share the parent's connections"
        assert name not in self.living
        self.living[name] = 1
        lives = self.lives.get(name) or [FOR_EVER]
        length_s, status = lives.pop(0)
        self.ends[name] = self.now_s + length_s, status
        self.starts.append((round(self.now_s - self.begun_s, 3), name))
        return 1

    def poll(self, timeout_s: float, _read_end: int) -> list[ChildDeath]:
        self.now_s = min([self.now_s + timeout_s, *(end_s for end_s, _ in self.ends.values())])
        over = [name for name, (end_s, _) in self.ends.items() if end_s <= self.now_s]
        for at_s in [at_s for at_s in self.plans if self.now_s - self.begun_s >= at_s]:
            self.plans.pop(at_s)()
        if self.now_s >= self.until_s:
            self.shutdown.reason = "stopped"
        deaths = [ChildDeath(name, 1, self.ends.pop(name)[1]) for name in over]
        for name in over:
            del self.living[name]
        return deaths

    def end_all(self, _grace_s: float) -> list[ChildDeath]:
        self.ended_in_order = sorted(self.living)
        return []


def test_each_task_has_one_child_at_the_same_time_and_all_are_ended_with_the_signal() -> None:
    host = Host(10, one=[FOR_EVER], two=[FOR_EVER])
    host.plans[3] = lambda: host.tasks.append("three")

    host.stay()

    assert host.starts == [(0, "one"), (0, "two"), (3, "three")]
    assert host.ended_in_order == ["one", "three", "two"]
    assert host.lines == []


def test_the_failure_of_one_ends_no_other_and_it_is_tried_again_after_growing_delays() -> None:
    # Given a task whose children die again and again, and one that goes on
    failing = [(0.1, ENVIRONMENT), (0.1, -9), *[(0.1, 1)] * 20]
    host = Host(200, bad=failing, good=[FOR_EVER]).stay()
    # Then the other has had one child; and the first a new one each time, later and later
    assert [name for _, name in host.starts].count("good") == 1
    starts = [at_s for at_s, name in host.starts if name == "bad"]
    gaps = [later - sooner for sooner, later in pairwise(starts)]
    assert gaps[:3] == sorted(gaps[:3])
    assert FIRST_DELAY_S <= gaps[0] <= FIRST_DELAY_S + POLL_S + 0.1
    assert all(LONGEST_DELAY_S <= gap <= LONGEST_DELAY_S + POLL_S + 0.1 for gap in gaps[6:])
    assert len(gaps) == 10
    # and each failure was reported, with how it ended
    assert host.lines[:2] == [
        "bad ended (exit 4); it is tried again in 1 s, if it is still to be done",
        "bad ended (signal 9); it is tried again in 2 s, if it is still to be done",
    ]
    assert host.ended_in_order == ["good"]


def test_a_task_that_cannot_be_done_here_is_left_alone() -> None:
    host = Host(60, foreign=[(0.1, USAGE)], good=[FOR_EVER]).stay()

    assert host.starts == [(0, "foreign"), (0, "good")]


def test_a_task_that_ended_in_order_and_is_found_again_gets_another_child_soon() -> None:
    host = Host(10, one=[(2, 0), FOR_EVER]).stay()

    assert [name for _, name in host.starts] == ["one", "one"]
    assert host.starts[1][0] <= 2 + FIRST_DELAY_S + POLL_S


def test_a_time_without_tasks_is_reported_once_and_again_after_another_task() -> None:
    host = Host(20, one=[(3, 0)])
    host.tasks.clear()
    host.plans[4] = lambda: host.tasks.append("one")
    host.plans[6] = host.tasks.clear

    host.stay()

    assert host.starts == [(4, "one")]
    assert host.lines == [WAITING, WAITING]


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_server_that_is_away_ends_no_child_and_is_reported_once_when_nothing_else_is_done(is_busy: bool) -> None:
    host = Host(20, **({"one": [FOR_EVER]} if is_busy else {}))

    def away() -> None:
        host.is_server_there = False

    host.plans[5] = away
    host.stay()

    assert host.ended_in_order == ["one"] * is_busy
    assert host.lines == ([] if is_busy else [WAITING, "the server does not answer; waiting for it"])
