"""What a supervisor does under its lease, and what it leaves to whoever holds it next. A real server, no processes."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from broker.faults.grammar import parse_lines
from broker.faults.schedule import timed
from broker.ports.robot import Deed
from broker.streams.run.plan_log import StreamRequests
from deploy.attach.context import Brief, Vantage, vantage_on
from deploy.supervisor.leadership import Tenure
from robots.run.deal import Terms
from robots.run.stop_rule import Bounds
from tests.support.rq_lab import Lab, deal

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


class Hands:
    """Victims who are all there, and what was done to them."""

    living = ("r00", "r01", "redis")

    def __init__(self) -> None:
        self.struck: list[tuple[str, ...]] = []

    def __getattr__(self, verb: str) -> Any:
        def strike(*victim: str) -> bool:
            self.struck.append((verb, *victim))
            return True

        return (lambda *_: True) if verb == "can" else strike


class Desk:
    """A run with a plan, and tenures of it; `is_ours` is what the lease says."""

    def __init__(self, lab: Lab, plan: str) -> None:
        self.desk = deal(lab)
        brief = Brief(
            "t", ("r00", "r01"), Terms(2, 1, 7, 50_000, 300_000, 0), timed(parse_lines(plan)), Bounds(60_000_000, 0)
        )
        self.vantage: Vantage = vantage_on(lab.connection, brief, "lab", lambda _stamped: None)
        self.hands = Hands()
        self.noted: list[int] = []
        self.is_ours = True
        self._lab = lab

    def tenure(self, go_ms: int | None = 0, done_us: int = -1) -> Tenure:
        return Tenure(self.vantage, self.hands, go_ms, done_us, self._note)  # type: ignore[arg-type]

    def _note(self, done_us: int) -> bool:
        self.noted.append(done_us)
        return self.is_ours

    def told(self) -> list[str]:
        return [row.text for row in self._lab.befallen() if isinstance(row, Deed)]


def test_a_deed_is_noted_before_it_is_done_and_not_done_by_who_lost_the_lease(lab: Lab) -> None:
    # Given a deed that is due, and a lease that has become another's
    desk = Desk(lab, "kill r00 @1s; kill r01 @2s")
    tenure = desk.tenure()
    desk.is_ours = False
    tenure.keep_plan(1_000_000, is_server_there=True)
    # Then it is neither told nor done,
    assert (desk.told(), desk.hands.struck) == ([], [])
    assert not tenure.is_settled(60_000_000)
    # nor while the server is away, which is not even asked;
    noted = len(desk.noted)
    tenure.keep_plan(1_100_000, is_server_there=False)
    assert (len(desk.noted), desk.hands.struck) == (noted, [])
    # and once when it is ours again
    desk.is_ours = True
    tenure.keep_plan(2_000_000, is_server_there=True)
    tenure.keep_plan(2_100_000, is_server_there=True)
    assert desk.told() == ["kill r00", "kill r01"]
    assert desk.hands.struck == [("kill", "r00"), ("kill", "r01")]


def test_the_end_of_a_pause_does_not_wait_for_the_server_that_is_paused(lab: Lab) -> None:
    # Given a server that was paused, another pause that falls into that time, and one that outlasts it
    desk = Desk(lab, "pause redis @1s+1s; pause r00 @1200ms+300ms; pause r01 @1300ms+5s")
    tenure = desk.tenure()
    tenure.keep_plan(1_000_000, is_server_there=True)
    # When it is away until its pause ends
    for now_us in (1_250_000, 1_600_000, 2_000_000):
        tenure.keep_plan(now_us, is_server_there=False)
    # Then it goes on in time; of what would be over by then nothing is left, and the other begins when it can be told
    assert desk.hands.struck == [("pause", "redis"), ("resume", "redis")]
    tenure.keep_plan(2_300_000, is_server_there=True)
    assert desk.hands.struck[2:] == [("pause", "r01")]


def test_a_successor_does_what_is_left_of_plan_and_deeds(lab: Lab) -> None:
    # Given a supervisor who has done some of a plan, and answered a request
    desk = Desk(lab, "kill r00 @1s; loss .5 @2s; pause r01 @1500ms+2s; kill r00 @3s")
    first = desk.tenure()
    StreamRequests(lab.connection, "t").ask("set delay 5ms")
    for now_us in (1_000_000, 1_500_000):
        first.keep_plan(now_us, is_server_there=True)
    done_us = desk.noted[-1]
    desk.hands.struck.clear()
    # When another one takes over later
    go_ms = lab.connection.time()[0] * 1000 - 1_600
    second = desk.tenure(go_ms, done_us)
    for now_us in (2_600_000, 3_100_000, 3_600_000):
        second.keep_plan(now_us, is_server_there=True)
    # Then what is dated later comes, what was done is not done again, and who was paused goes on
    assert desk.hands.struck == [("kill", "r00"), ("resume", "r01")]
    assert desk.told()[-1] == "resume r01"
    entries = lab.connection.xrange("lab:{t.out0}:out")
    assert all(fault in entries[-1][1][b"x"] for fault in (b"delay 5ms", b"loss 0.5"))
    assert second.is_settled(60_000_000)
