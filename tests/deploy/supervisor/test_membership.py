"""What a supervisor does about robots' jobs through Redis alone: the lost, the forgotten, those that wait, and those
that join. A real server; the RQ workers are only what RQ would know of them, and time is told by the test."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from broker.control_entries import PlanChange
from broker.errors import Unavailable
from broker.ports.robot import Death
from broker.ports.run import RunSpec
from broker.streams.connection import Server
from broker.streams.embedded import EmbeddedServer
from broker.streams.run.control import StreamRunControl
from broker.streams.run.evidence import StreamEvidenceReader
from broker.streams.run.fleet_log import StreamFleetLog
from broker.streams.run.supervisor_lease import Needs, SupervisorLease
from deploy.attach.context import RunInfo, context_on
from deploy.rq.job import RobotJob
from deploy.rq.leases import LEASE_S, QUEUE, claim
from deploy.rq.observed import JOIN_S, kept_name
from deploy.rq.queue import enqueue_robot, poll_jobs, requeue, rq_workers
from deploy.rq.worker import RobotWorker
from deploy.supervisor.membership import WAIT_S, Membership
from robots.run.deal import Terms
from robots.run.stop_rule import Bounds
from telemetry.events import RobotJoined, RobotLost, RobotWaiting, RobotYielded
from tests.support.rq_lab import Lab, deal

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


class Members:
    """The membership of the run `t`, its lab, and the time."""

    def __init__(self, lab: Lab, robots: int = 2, is_closed: bool = False) -> None:
        self.lab = lab
        deal(lab, robots)
        info = RunInfo(
            "t",
            tuple(f"r{number:02d}" for number in range(robots)),
            Terms(robots, 1, 7, 50_000, 300_000, 0),
            [],
            Bounds(0, 0),
            is_closed=is_closed,
        )
        self.reported: list[object] = []
        self.context = context_on(
            Server(lab.connection, lab.connection), info, "lab", lambda stamped: self.reported.append(stamped.event)
        )
        log = StreamFleetLog(lab.connection, "t")
        self.members = Membership(self.context, StreamRunControl(lab.connection, "t"), log)
        self.now_s = 100.0
        self.idle: tuple[str, ...] = ()  # RQ workers
        self.alive: list[str] = []  # robots whose lease is renewed
        self.behind_s = 0.0  # the clock of who renews it

    def handle(self, seconds: float = 0.0, is_open: bool = True) -> None:
        """Poll four times a second for so long; each idle RQ worker and living robot sends a heartbeat each time."""
        end_s = self.now_s + seconds
        while True:
            for robot in self.alive:
                self.renew(robot)
            for name in self.idle:
                self.lab.connection.hset(f"rq:worker:{name}", "last_heartbeat", str(self.now_s))
            self.context.job_table.poll(self.now_s)
            self.members.handle(self.now_s, is_open)
            self.now_s += 0.25
            if self.now_s > end_s:
                return

    def let_idle(self, *names: str) -> None:
        for name in names:
            self.lab.connection.hset(f"rq:worker:{name}", "state", "idle")
            self.lab.connection.sadd("rq:workers:robots", f"rq:worker:{name}")
        self.idle += names

    def run(self, robot: str, worker: str) -> None:
        """What an RQ worker does that takes the robot's job: it holds a lease on it."""
        connection = self.lab.connection
        assert connection.lrem(f"rq:queue:{QUEUE}", 1, f"robot-t-{robot}")
        job = RobotJob.fetch(f"robot-t-{robot}", connection=connection)
        execution = RobotWorker([QUEUE], name=worker, connection=connection).prepare_execution(job)
        assert claim(job, execution)
        connection.hset(f"rq:job:robot-t-{robot}", "status", "started")
        connection.hset(f"rq:worker:{worker}", "state", "busy")
        connection.sadd("rq:workers:robots", f"rq:worker:{worker}")
        self.alive.append(robot)
        self.renew(robot)

    def renew(self, robot: str) -> None:
        [seen] = poll_jobs(self.lab.connection, "t", [robot])
        self.lab.connection.zadd(f"rq:wip:{QUEUE}", {seen.lease: time.time() + 2 - self.behind_s + self.now_s / 1000})

    def state(self, robot: str) -> str:
        [seen] = poll_jobs(self.lab.connection, "t", [robot])
        return seen.state

    def events(self, kind: type) -> list[object]:
        return [event for event in self.reported if isinstance(event, kind)]


@pytest.fixture
def members(tmp_path, monkeypatch):
    with EmbeddedServer() as server, Lab(server, tmp_path, monkeypatch) as lab:
        members = Members(lab)
        for robot in ("r00", "r01"):
            enqueue_robot(lab.connection, "t", robot)
        yield members


def test_a_robot_that_is_not_heard_of_is_reported_dead_and_queued_again_once(members: Members) -> None:
    # Given robots that run, and of which one is not heard of any more
    members.run("r00", "w0")
    members.run("r01", "w1")
    members.handle(1)
    # When it has been silent for a lease
    members.alive.remove("r00")
    members.handle(LEASE_S + 1)
    # Then its death is on record, and it stands in the queue; the other is let alone
    assert [(row.victim, row.how) for row in members.lab.fleet_rows() if isinstance(row, Death)] == [
        ("rq:r00", "lease")
    ]
    assert members.events(RobotLost) == [RobotLost("r00", "w0")]
    assert members.lab.queued() == ["robot-t-r00"]
    assert members.state("r01") == "running"


def test_a_robot_that_was_dealt_and_never_queued_is_queued_and_one_that_is_done_is_not(members: Members) -> None:
    # Given a dealer who died before it came to the queue, and a robot whose life is over
    members.lab.connection.delete("rq:job:robot-t-r00", "rq:job:robot-t-r01", f"rq:queue:{QUEUE}")
    members.lab.connection.xadd("lab:{t.r01}:journal", {"entry": b"born", "nonce": "x"}, id="1-1")
    # When a supervisor looks, as often as it likes
    members.handle(2)
    # Then only the first is queued, once
    assert members.lab.queued() == ["robot-t-r00"]
    assert members.state("r01") == "done"
    # and not again, if the RQ worker that took it could do nothing with it
    members.lab.connection.delete("rq:job:robot-t-r00", f"rq:queue:{QUEUE}")
    members.handle(2)
    assert members.lab.queued() == []


def test_a_robot_whose_journal_is_lost_is_not_queued_again(members: Members) -> None:
    # Given robots whose jobs are done, because one has lost its journal
    members.lab.connection.delete("rq:job:robot-t-r00", "rq:job:robot-t-r01", f"rq:queue:{QUEUE}")
    members.lab.connection.delete("lab:{t.r00}:journal", "lab:{t.r01}:journal")
    members.handle(2)
    assert members.lab.queued() == []


def test_a_death_is_reported_once_though_the_server_goes_away_before_the_robot_is_queued(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two robots that are lost, and a server that does not answer when the first is to be queued again
    members.run("r00", "w0")
    members.run("r01", "w1")
    members.handle(1)
    members.alive.clear()
    troubles = [Unavailable("away")]

    def requeue_when_answered(*arguments: Any) -> bool:
        if troubles:
            raise troubles.pop()
        return requeue(*arguments)

    monkeypatch.setattr("deploy.supervisor.membership.requeue", requeue_when_answered)
    with pytest.raises(Unavailable):
        members.handle(LEASE_S + 1)
    # When it answers at the next look / Then both are queued at once, and each death was told once
    members.handle()
    assert sorted(members.lab.queued()) == ["robot-t-r00", "robot-t-r01"]
    assert [row.robot for row in members.lab.fleet_rows()] == ["r00", "r01"]


def test_a_robot_is_run_as_long_as_its_lease_is_renewed_whatever_its_hosts_clock_states(members: Members) -> None:
    # Given a host whose clock is an hour behind: its leases look as if they had always run out
    members.run("r00", "w0")
    members.run("r01", "w1")
    members.behind_s = 3600.0
    members.let_idle("w2")
    # Then no robot is reported lost, and the idle RQ worker gets a new robot
    members.handle(LEASE_S + 1)
    assert members.state("r00") == "lost"
    assert members.members.is_whole is False  # the new one is not run yet
    assert members.events(RobotLost) == []
    assert members.events(RobotJoined) == [RobotJoined("r02")]


def test_a_robot_that_waits_is_reported_with_the_parts_that_are_only_there_and_again_now_and_then(
    members: Members,
) -> None:
    # Given one robot that runs, and one for which no RQ worker is free
    members.run("r00", "w0")
    members.handle(WAIT_S - 0.25)
    assert members.events(RobotWaiting) == []
    # When it has waited for a second / Then that is reported, with the parts that no other robot holds, and again
    # every three seconds
    members.handle(7)
    assert members.events(RobotWaiting) == [RobotWaiting("r01", (1, 3), waited_s) for waited_s in (0, 3, 6)]
    assert members.members.is_whole
    # and anew when it waits another time
    members.run("r01", "w1")
    members.handle(0.5)
    assert members.members.is_whole
    members.alive.remove("r01")
    members.handle(LEASE_S + WAIT_S + 1)
    assert members.events(RobotWaiting)[3:] == [RobotWaiting("r01", (1, 3))]


def test_a_robot_that_waits_twice_outlives_trouble_in_between(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a robot that was told to wait, and then run while the server was in trouble
    members.run("r00", "w0")
    members.handle(2)
    members.run("r01", "w1")

    def away(*_arguments: Any, **_options: Any) -> Any:
        raise Unavailable("away")

    with monkeypatch.context() as trouble:
        trouble.setattr("deploy.supervisor.membership.rq_workers", away)
        with pytest.raises(Unavailable):
            members.handle()
    # When it is lost and waits again / Then that is told anew
    members.alive.remove("r01")
    members.handle(LEASE_S + WAIT_S + 1)
    assert members.events(RobotWaiting) == 2 * [RobotWaiting("r01", (1, 3))]


def test_no_robot_waits_or_joins_before_the_run_has_begun(members: Members) -> None:
    members.run("r00", "w0")
    members.handle(4, is_open=False)
    members.run("r01", "w1")
    members.let_idle("w2")
    members.handle(4, is_open=False)
    assert members.reported == []


def test_a_robot_joins_for_each_rq_worker_that_is_idle_all_at_once(members: Members) -> None:
    # Given robots that all run, and RQ workers that come
    members.run("r00", "w0")
    members.run("r01", "w1")
    members.handle(LEASE_S + 1)
    members.let_idle("w2", "w3", kept_name("abc123", 0, 1))
    # When they have been idle for a while
    members.handle(JOIN_S - 0.5)
    assert members.events(RobotJoined) == []
    members.handle(1)
    # Then so many robots join as came, but none for an RQ worker that a parent keeps for its own
    assert members.events(RobotJoined) == [RobotJoined("r02"), RobotJoined("r03")]
    assert sorted(members.lab.queued()) == ["robot-t-r02", "robot-t-r03"]
    assert StreamEvidenceReader(members.lab.connection, "t").robots()[-2:] == ("r02", "r03")
    # and no more while those are not run yet
    members.handle(3)
    assert len(members.events(RobotJoined)) == 2


def test_no_robot_joins_while_a_robot_waits_for_that_rq_worker(members: Members) -> None:
    members.run("r00", "w0")
    members.let_idle("w1")
    members.handle(5)
    assert members.reported == []  # nor is a robot reported as waiting: an RQ worker is free


def test_an_rq_worker_that_replaces_a_dead_one_gets_its_robot_and_no_new_one(members: Members) -> None:
    # Given robots that run, of which one dies with its RQ worker
    members.run("r00", "w0")
    members.run("r01", "w1")
    members.handle(1)
    members.alive.remove("r00")
    # When another RQ worker is there at once, long before the lease has run out
    members.handle(0.5)
    members.let_idle("w2")
    members.handle(LEASE_S)
    # Then it is for the robot that was lost
    assert members.events(RobotJoined) == []
    assert members.lab.queued() == ["robot-t-r00"]


def test_a_new_leader_waits_out_every_lease_before_a_robot_joins(members: Members) -> None:
    # Given a run whose supervisor died with an RQ worker, and whose robots' leases were just renewed
    members.run("r00", "w0")
    members.run("r01", "w1")
    members.alive.remove("r00")
    members.let_idle("w2")
    # When another one leads from now on / Then the idle RQ worker is for the robot that turns out to be lost
    members.handle(LEASE_S + JOIN_S)
    assert members.events(RobotJoined) == []
    assert members.lab.queued() == ["robot-t-r00"]


def run_two_and_a_joiner(members: Members) -> None:
    """Let r00 and r01 run, who were dealt parts, and r02, who joined."""
    members.run("r00", "w0")
    members.run("r01", "w1")
    members.handle(LEASE_S + 1)
    members.let_idle("w2")
    members.handle(JOIN_S + 0.5)
    members.idle = ()
    members.run("r02", "w2")


def commands_to(members: Members, robot: str) -> list[bytes]:
    return [fields[b"command"] for _, fields in members.lab.connection.xrange(f"lab:{{t}}:commands.{robot}")]


def test_a_robot_that_holds_only_learnt_parts_gives_way_to_one_that_holds_what_no_living_one_does(
    members: Members,
) -> None:
    # Given a robot that has joined and runs, one that was dealt parts and runs, and an RQ worker that dies
    run_two_and_a_joiner(members)
    members.alive.remove("r01")
    # When its robot waits for a while, behind another one
    members.handle(LEASE_S + 0.5)
    members.lab.connection.lpush(f"rq:queue:{QUEUE}", "robot-another-r00")
    members.handle(WAIT_S + 0.5)
    # Then the joined one is to hand its RQ worker back, and the robot that waits will be the next
    assert members.events(RobotYielded) == [RobotYielded("r02", "r01")]
    assert commands_to(members, "r02") == [b"yield r02"]
    assert (commands_to(members, "r00"), members.lab.queued()) == ([], ["robot-t-r01", "robot-another-r00"])


def test_no_robot_gives_way_to_one_whose_parts_others_hold(members: Members) -> None:
    # Given a robot that has joined, and one that waits and whose parts another one has learnt
    run_two_and_a_joiner(members)
    learnt = StreamEvidenceReader(members.lab.connection, "t").journal("r01")[1:]
    for number, row in enumerate(learnt, start=1):
        fields: dict[Any, Any] = {"entry": row.content, "nonce": "x"}
        members.lab.connection.xadd("lab:{t.r02}:journal", fields, id=f"1-{number}")
    members.alive.remove("r01")
    members.handle(LEASE_S + WAIT_S + 1)
    assert members.events(RobotWaiting) == [RobotWaiting("r01", ())]
    assert members.events(RobotYielded) == []


class OtherRun:
    """Another run on the server, `newer` or older than `t`, and its leader's lease."""

    def __init__(self, members: Members, is_newer: bool) -> None:
        self.client = members.lab.connection
        self.run = "newer" if is_newer else "older"
        spec = RunSpec(self.run, 1, PlanChange(()), {"r00": [b"header"]}, b"terms")
        StreamRunControl(self.client, self.run).deal(spec)
        if not is_newer:
            self.client.zadd("lab:runs", {self.run: 1})
        self.lease = SupervisorLease(self.client, self.run, "another")

    def needs(self, lacks: int = 0, grows: bool = False) -> None:
        assert self.lease.hold(None, Needs(lacks, grows)) is not None


def let_all_run(members: Members) -> None:
    members.run("r00", "w0")
    members.run("r01", "w1")
    members.handle(LEASE_S + 1)
    members.let_idle("w2")


@pytest.mark.parametrize(
    ("is_newer", "needs"),
    [(True, Needs(1, True)), (True, Needs(2, False)), (True, Needs(0, True)), (False, Needs(1, False))],
    ids=[
        "a newer one lacks robots",
        "a newer one that has not begun",
        "a newer one grows",
        "an older one lacks robots",
    ],
)
def test_an_idle_rq_worker_is_left_to_another_run_that_needs_it_more(
    members: Members, is_newer: bool, needs: Needs
) -> None:
    # Given another run that is led, and an RQ worker that comes
    other = OtherRun(members, is_newer)
    let_all_run(members)
    other.needs(*needs)
    members.handle(JOIN_S + 1)
    assert members.events(RobotJoined) == []
    # When the other has all that it needs / Then a robot joins this one
    other.needs()
    members.handle(1)
    assert members.events(RobotJoined) == [RobotJoined("r02")]


@pytest.mark.parametrize("left", ["it leaves", "its lease runs out", "there never was any"])
def test_a_run_without_a_leader_keeps_no_other_from_growing(members: Members, left: str) -> None:
    # Given a newer run that lacks robots, and whose leader is gone: nothing queues them
    other = OtherRun(members, is_newer=True)
    if left != "there never was any":
        other.needs(3, True)
    if left == "it leaves":
        other.lease.release()
    elif left == "its lease runs out":
        other.client.hset(f"lab:{{{other.run}}}:supervisor", "until_us", "1")
    let_all_run(members)
    members.handle(JOIN_S + 1)
    assert members.events(RobotJoined) == [RobotJoined("r02")]


def test_an_older_run_that_may_grow_too_keeps_none_from_growing(members: Members) -> None:
    other = OtherRun(members, is_newer=False)
    let_all_run(members)
    other.needs(0, True)
    members.handle(JOIN_S + 1)
    assert members.events(RobotJoined) == [RobotJoined("r02")]


def test_what_is_no_lease_of_another_run_keeps_none_from_growing(members: Members) -> None:
    # Given something that anybody has put where another run's lease stands
    other = OtherRun(members, is_newer=True)
    other.client.set(f"lab:{{{other.run}}}:supervisor", "garbage")
    let_all_run(members)
    members.handle(JOIN_S + 1)
    assert members.events(RobotJoined) == [RobotJoined("r02")]


def test_no_robot_joins_while_any_robot_stands_in_the_queue(members: Members) -> None:
    # Given RQ workers that take nothing now, and a robot of a run that is not led
    let_all_run(members)
    members.lab.connection.rpush(f"rq:queue:{QUEUE}", "robot-another-r00")
    members.handle(JOIN_S + 1)
    assert members.events(RobotJoined) == []


def test_no_robot_joins_a_closed_run_and_its_own_are_cared_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedServer() as server, Lab(server, tmp_path, monkeypatch) as lab:
        members = Members(lab, is_closed=True)
        for robot in ("r00", "r01"):
            enqueue_robot(lab.connection, "t", robot)
        # Given a closed run whose robots run, and RQ workers that are idle
        let_all_run(members)
        members.handle(JOIN_S + 3)
        assert members.events(RobotJoined) == []
        assert members.members.needs == Needs(0, False)
        # When one of its own is lost / Then that one is queued again
        members.alive.remove("r00")
        members.handle(LEASE_S + 1)
        assert members.lab.queued() == ["robot-t-r00"]


def test_a_run_needs_an_rq_worker_for_each_robot_that_none_runs(members: Members) -> None:
    # Given a run of which nothing is known yet, and then that both its robots stand in the queue
    assert members.members.needs == Needs(1)
    members.handle(is_open=False)
    assert members.members.needs == Needs(2)
    # When one is run, and then both / Then it lacks one, and then none; and it grows once it has begun
    members.run("r00", "w0")
    members.handle(is_open=False)
    assert members.members.needs == Needs(1)
    members.run("r01", "w1")
    members.handle(LEASE_S + 1, is_open=False)
    assert members.members.needs == Needs(0)
    members.handle()
    assert members.members.needs == Needs(0, True)
    # and while a lease is overdue, its robot may be lost
    members.alive.remove("r00")
    members.handle(2)
    assert members.members.needs == Needs(1, True)


def test_no_robot_joins_a_run_that_is_gone(members: Members) -> None:
    members.run("r00", "w0")
    members.run("r01", "w1")
    members.let_idle("w2")
    members.lab.connection.delete("lab:{t}:orders")
    members.handle(LEASE_S + JOIN_S)
    assert members.events(RobotJoined) == []
    assert members.lab.queued() == []


def test_rq_workers_are_only_polled_at_when_there_are_more_than_enough(members: Members) -> None:
    # Given two RQ workers, and the name of one whose key has run out
    members.let_idle("w0", "w1")
    members.lab.connection.sadd("rq:workers:robots", "rq:worker:gone")
    members.lab.connection.sadd("rq:workers", "rq:worker:gone")
    # Then they are looked at when there are more than that, and the name is forgotten by that
    assert rq_workers(members.lab.connection, more_than=3) == []
    assert [worker.name for worker in rq_workers(members.lab.connection, more_than=2)] == ["w0", "w1"]
    assert rq_workers(members.lab.connection, more_than=2) == []
