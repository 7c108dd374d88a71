"""What a supervisor does under its lease, and what it leaves to the next holder. A real server, no processes."""

from __future__ import annotations

import sys

import pytest

from broker.faults.grammar import parse_lines
from broker.faults.schedule import timed
from broker.ports.robot import Acknowledgement, Injection
from broker.streams import keys
from broker.streams.connection import Server
from broker.streams.keys import Keys
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.plan_log import StreamRequests
from deploy.attach.context import RunContext, RunInfo, context_on
from deploy.supervisor.leadership import Leadership
from robots.run.deal import Terms
from robots.run.stop_rule import Bounds
from telemetry.events import Stamped, SupervisorStalled
from tests.support.rq_lab import Lab, deal

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


class Injector:
    """Targets that are all there, and what was injected into them."""

    living = ("r00", "r01", "redis")

    def __init__(self) -> None:
        self.injected: list[tuple[str, str]] = []

    def can(self, verb: str, name: str) -> bool:
        return True

    def inject(self, verb: str, victim: str) -> bool:
        self.injected.append((verb, victim))
        return True


class RunControl:
    """A run with a plan, and leaderships of it; `is_ours` is what the lease says."""

    def __init__(self, lab: Lab, plan: str) -> None:
        self.run_control = deal(lab)
        info = RunInfo(
            "t",
            ("r00", "r01"),
            Terms(2, 1, 7, 50_000, 300_000, 0),
            timed(parse_lines(plan)),
            Bounds(60_000_000, 7_200_000_000),
        )
        self.stamped: list[Stamped] = []
        self.context: RunContext = context_on(Server(lab.connection, lab.connection), info, "lab", self.stamped.append)
        self.injection = Injector()
        self.noted: list[int] = []
        self.is_ours = True
        self._lab = lab

    def leadership(self, go_ms: int | None = 0, done_us: int = -1) -> Leadership:
        return Leadership(self.context, self.injection, go_ms, done_us, self._note)  # type: ignore[arg-type]

    def stalls(self) -> list[int]:
        """The stalls that were reported, in milliseconds."""
        self.context.events.publish()
        self.context.events.read()
        events = (stamped.event for stamped in self.stamped)
        return [event.stalled_us // 1000 for event in events if isinstance(event, SupervisorStalled)]

    def _note(self, done_us: int) -> bool:
        self.noted.append(done_us)
        return self.is_ours

    def reported(self) -> list[str]:
        return [f"{row.verb} {row.target}" for row in self._lab.fleet_rows() if isinstance(row, Injection)]


def test_an_injection_is_noted_before_it_is_done_and_not_done_by_a_supervisor_that_lost_the_lease(lab: Lab) -> None:
    # Given a process fault that is due, and a lease that has become another's
    run_control = RunControl(lab, "kill r00 @1s; kill r01 @2s")
    leadership = run_control.leadership()
    run_control.is_ours = False
    leadership.run_plan(1_000_000, is_server_there=True)
    # Then it is neither told nor done,
    assert (run_control.reported(), run_control.injection.injected) == ([], [])
    assert not leadership.is_settled(60_000_000)
    # nor while the server is away, which is not even asked;
    noted = len(run_control.noted)
    leadership.run_plan(1_100_000, is_server_there=False)
    assert (len(run_control.noted), run_control.injection.injected) == (noted, [])
    # and once when it is ours again
    run_control.is_ours = True
    leadership.run_plan(2_000_000, is_server_there=True)
    leadership.run_plan(2_100_000, is_server_there=True)
    assert run_control.reported() == ["kill r00", "kill r01"]
    assert run_control.injection.injected == [("kill", "r00"), ("kill", "r01")]


def test_the_end_of_a_pause_does_not_wait_for_the_server_that_is_paused(lab: Lab) -> None:
    # Given a server that was paused, another pause that falls into that time, and one that outlasts it
    run_control = RunControl(lab, "pause redis @1s+1s; pause r00 @1200ms+300ms; pause r01 @1300ms+5s")
    leadership = run_control.leadership()
    leadership.run_plan(1_000_000, is_server_there=True)
    # When it is away until its pause ends
    for now_us in (1_250_000, 1_600_000, 2_000_000):
        leadership.run_plan(now_us, is_server_there=False)
    # Then it goes on in time; of what would be over by then nothing is left, and the other begins when it can be told
    assert run_control.injection.injected == [("pause", "redis"), ("resume", "redis")]
    leadership.run_plan(2_300_000, is_server_there=True)
    assert run_control.injection.injected[2:] == [("pause", "r01")]


def test_a_successor_does_what_is_left_of_message_and_process_faults(lab: Lab) -> None:
    # Given a supervisor who has done some of a plan, and answered a request
    run_control = RunControl(lab, "kill r00 @1s; loss .5 @2s; pause r01 @1500ms+2s; kill r00 @3s")
    first = run_control.leadership()
    StreamRequests(lab.connection, "t").add("set delay 5ms")
    for now_us in (1_000_000, 1_500_000):
        first.run_plan(now_us, is_server_there=True)
    done_us = run_control.noted[-1]
    run_control.injection.injected.clear()
    # When another one takes over later
    go_ms = lab.connection.time()[0] * 1000 - 1_600
    second = run_control.leadership(go_ms, done_us)
    for now_us in (2_600_000, 3_100_000, 3_600_000):
        second.run_plan(now_us, is_server_there=True)
    # Then what is dated later comes, what was done is not done again, and who was paused goes on
    assert run_control.injection.injected == [("kill", "r00"), ("resume", "r01")]
    assert run_control.reported()[-1] == "resume r01"
    entries = lab.connection.xrange("lab:{t.out0}:out")
    assert all(fault in entries[-1][1][keys.CONTROL] for fault in (b"delay 5ms", b"loss 0.5"))
    assert second.is_settled(60_000_000)


def test_a_successor_knows_the_process_faults_that_were_requested_and_answers_none_twice(lab: Lab) -> None:
    # Given a supervisor that has answered a request for process faults, after one for message faults
    run_control = RunControl(lab, "loss .5")
    first, requests = run_control.leadership(), StreamRequests(lab.connection, "t")
    requests.add("set delay 5ms")
    requests.add("set kill r00; kill r01 @1h")
    for now_us in (1_000_000, 1_030_000):
        first.run_plan(now_us, is_server_there=True)
    assert run_control.injection.injected == [("kill", "r00")]
    plan_changes = lab.connection.xlen("lab:{t.out0}:out")
    # When another one takes over
    go_ms = lab.connection.time()[0] * 1000 - 1_000
    second = run_control.leadership(go_ms, done_us=5_000_000)
    second.run_plan(5_000_000, is_server_there=True)
    # Then it injects nothing again, answers nothing again, and what is requested for later is still to come
    assert run_control.injection.injected == [("kill", "r00")]
    assert [row.request for row in lab.fleet_rows() if isinstance(row, Acknowledgement)] == [
        "set kill r00; kill r01 @1h"
    ]
    assert lab.connection.xlen("lab:{t.out0}:out") == plan_changes + 1  # what is in force is repeated
    second.run_plan(3_700_000_000, is_server_there=True)
    assert run_control.injection.injected == [("kill", "r00"), ("kill", "r01")]


@pytest.mark.parametrize("request_id", ["garbage", "", "9" * 19 + "-1", "-1", "1-1-1"])
def test_an_answer_to_no_request_stops_no_request_after_a_takeover(lab: Lab, request_id: str) -> None:
    # Given a run in whose log somebody wrote such an answer by hand
    run_control = RunControl(lab, "loss .5")
    StreamFleetLog(lab.connection, "t").acknowledge(request_id, "set kill r01", "no")
    # When a request comes, and a supervisor takes over
    asked = StreamRequests(lab.connection, "t").add("set kill r00")
    leadership = run_control.leadership()
    for now_us in (1_000_000, 1_030_000):
        leadership.run_plan(now_us, is_server_there=True)
    # Then it is answered, and done
    answers = [row.request_id for row in lab.fleet_rows() if isinstance(row, Acknowledgement)]
    assert answers == [request_id, asked]
    assert run_control.injection.injected == [("kill", "r00")]


def test_a_process_fault_waits_until_the_answer_to_its_request_is_stored(lab: Lab) -> None:
    # Given a pause that has begun, and an outbox that takes nothing
    run_control = RunControl(lab, "pause r01 @1s+1s")
    first, outbox = run_control.leadership(), "lab:{t.out0}:out"
    first.run_plan(1_000_000, is_server_there=True)
    lab.connection.rename(outbox, "elsewhere")
    # When a request comes whose answer is a plan change
    StreamRequests(lab.connection, "t").add("set delay 5ms; kill r00")
    for now_us in (1_500_000, 1_600_000, 2_100_000):
        first.run_plan(now_us, is_server_there=True)
    # Then its process fault waits, and nothing is noted of it; but the pause ends in time
    assert run_control.injection.injected == [("pause", "r01"), ("resume", "r01")]
    assert (run_control.noted[-1], first.done_us) == (1_000_000, 1_000_000)
    # When a successor finds the outbox there, Then it answers the request, and injects the fault once
    lab.connection.rename("elsewhere", outbox)
    second = run_control.leadership(lab.connection.time()[0] * 1000 - 2_000, first.done_us)
    for now_us in (3_000_000, 3_100_000, 3_200_000):
        second.run_plan(now_us, is_server_there=True)
    assert run_control.injection.injected[2:] == [("kill", "r00")]


def test_a_process_fault_whose_answer_was_late_is_noted_as_later_than_the_answer(lab: Lab) -> None:
    # Given a request whose answer could not be stored
    run_control = RunControl(lab, "loss .5")
    first, fleet = run_control.leadership(), Keys("t").fleet
    lab.connection.rename(fleet, "elsewhere")
    lab.connection.set(fleet, "no log")
    StreamRequests(lab.connection, "t").add("set kill r00")
    first.run_plan(1_000_000, is_server_there=True)
    # When it can be, in a step that began before
    lab.connection.rename("elsewhere", fleet)
    first.run_plan(1_500_000, is_server_there=True)
    assert [row.request for row in lab.fleet_rows() if isinstance(row, Acknowledgement)] == ["set kill r00"]
    # Then the fault is injected, and noted, in the next one
    assert run_control.injection.injected == []
    first.run_plan(1_530_000, is_server_there=True)
    assert run_control.injection.injected == [("kill", "r00")]
    assert run_control.noted == [1_530_000]


def test_a_leader_reports_how_long_it_took_no_step(lab: Lab) -> None:
    # Given a leader that takes steps before go and after it, some of them late
    run_control = RunControl(lab, "loss .5")
    leadership = run_control.leadership()
    for now_us in (-1, -1, 40_000, 70_000, 320_000, 571_000, 600_000, 2_600_000):
        leadership.run_plan(now_us, is_server_there=True)
    # Then it reports the pauses of more than a quarter of a second
    assert run_control.stalls() == [251, 2_000]
    # and a first step that comes late after go, but not the time that another leader led
    run_control.leadership().run_plan(900_000, is_server_there=True)
    run_control.leadership(done_us=1_000_000).run_plan(9_000_000, is_server_there=True)
    assert run_control.stalls() == [251, 2_000, 900]
