"""Zombies: an RQ worker, its horse, or both, are stopped for longer than a lease, and go on when their robot lives
elsewhere. Nothing that they do then takes effect. Real processes, real streams."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from broker.control_entries import Birth, decode_control
from broker.ports.robot import Death
from broker.relay.core import parse_id
from broker.streams import keys
from broker.streams.keys import Keys
from broker.streams.robot.register import StreamRegister
from deploy.rq.leases import LEASE_S
from deploy.rq.queue import enqueue_robot
from robots.restart_budget import FENCED
from tests.support.rq_lab import births, deal
from tests.support.waiting import await_true, is_alive

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


READY_KEY = "test:ready-to-write"


def horse_of(lab, name):
    pid = lab.fleet.living[name]
    [horse] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(horse)


def begin(lab, robots=("r00",), quiet_us=300_000):
    """A run whose robots gossip, and a spare RQ worker; the one that runs r00 is rq:r00."""
    run_control = deal(lab, len(robots), quiet_us)
    lab.start_relay()
    for robot in robots:
        lab.start_worker(f"rq:{robot}")
        enqueue_robot(lab.connection, "t", robot)
        await_true(lambda robot=robot: births(lab, robot) == 1, what="the birth")
    lab.start_worker("rq:spare")
    run_control.order("go")
    return run_control


def supervise_until(lab, fact, *robots):
    def polled():
        lab.supervise(*robots)
        return fact()

    await_true(polled, what="what the supervisor is for")


def keep_supervising(lab, *robots):
    """Longer than it takes to give up a robot that is not heard of."""
    deadline = time.monotonic() + LEASE_S + 1
    supervise_until(lab, lambda: time.monotonic() > deadline, *robots)


def sent_after(lab, robot, incarnation):
    """The fates of older lives' envelopes that stand after that birth in the outbox."""
    entries = lab.connection.xrange(Keys("t").control(0))
    controls = [(entry.decode(), decode_control(fields[keys.CONTROL])) for entry, fields in entries]
    born = [e for e, c in controls if isinstance(c, Birth) and (c.robot, c.incarnation) == (robot, incarnation)]
    if not born:
        return []
    fates = [fate for row in lab.evidence.collect().fates[0] for fate in row.fates if fate.sender == robot]
    return [fate for fate in fates if fate.incarnation < incarnation and parse_id(fate.entry) > parse_id(born[0])]


@pytest.mark.parametrize("stopped", [pytest.param("its RQ worker", marks=pytest.mark.long), "both"])
def test_nothing_that_a_zombie_does_takes_effect(lab, stopped):
    # Given two robots that gossip
    run_control = begin(lab, ("r00", "r01"))
    horse = horse_of(lab, "rq:r00")
    # When the RQ worker of one, or that and its horse, are stopped until the robot lives elsewhere
    lab.fleet.signal("rq:r00", signal.SIGSTOP)
    if stopped == "both":
        os.kill(horse, signal.SIGSTOP)
    supervise_until(lab, lambda: births(lab, "r00") == 2, "r00", "r01")
    # and then go on, the horse first, which may do what it likes
    if stopped == "both":
        os.kill(horse, signal.SIGCONT)
    # Then what it sends is stale, or it has read its journal before it could send
    await_true(lambda: sent_after(lab, "r00", 2) or not is_alive(horse), what="something sent, or the horse's end")
    assert {fate.state for fate in sent_after(lab, "r00", 2)} <= {"stale"}
    # and both end when the RQ worker wakes up
    lab.fleet.signal("rq:r00", signal.SIGCONT)
    assert lab.await_death("rq:r00").status == FENCED
    await_true(lambda: not is_alive(horse), what="the horse's end")
    # There is no third life, nor a second of the other,
    keep_supervising(lab, "r00", "r01")
    assert (births(lab, "r00"), births(lab, "r01")) == (2, 1)
    assert lab.queued() == []
    # the end of the old life is on record, as what it is,
    fenced = [row for row in lab.fleet_rows() if isinstance(row, Death) and row.status == FENCED]
    assert [(row.robot, row.incarnation, row.how) for row in fenced] == [("r00", 1, "exit")]
    # and nothing of the old life in the journal after the new one's birth
    run_control.order("stop")
    lives = [row.incarnation for row in lab.evidence.collect().journals["r00"]]
    assert lives == sorted(lives)
    assert lives[-1] == 2


def stop_before_writing(monkeypatch):
    """The first life that is about to write the secret stops itself; later ones do not."""
    write = StreamRegister.write

    async def late(register, secret):
        if await register._client.incr(READY_KEY) == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        return await write(register, secret)

    monkeypatch.setattr(StreamRegister, "write", late)


def test_a_zombie_that_is_about_to_write_the_secret_does_not(lab, monkeypatch):
    # Given a robot that has all parts, is quiet, and is stopped in front of the register with its RQ worker
    stop_before_writing(monkeypatch)
    run_control = begin(lab, quiet_us=4_000_000)
    horse = horse_of(lab, "rq:r00")
    await_true(lambda: lab.connection.exists(READY_KEY), what="the moment before the write")
    lab.fleet.signal("rq:r00", signal.SIGSTOP)
    # When its next life is born, and it goes on before that one is quiet
    supervise_until(lab, lambda: births(lab, "r00") == 2, "r00")
    os.kill(horse, signal.SIGCONT)
    # Then it ends,
    await_true(lambda: not is_alive(horse), what="the zombie's end")
    assert lab.evidence.collect().writes == []
    lab.fleet.signal("rq:r00", signal.SIGCONT)
    assert lab.await_death("rq:r00").status == FENCED
    # and its next life writes, once
    await_true(lambda: lab.evidence.collect().writes, what="the write")
    assert lab.evidence.collect().writes[0].incarnation == 2
    assert [row.entry.partition("-")[0] for row in lab.evidence.collect().births["r00"] if row.what == "attempt"] == [
        "2"
    ]
    assert births(lab, "r00") == 2
    run_control.order("stop")


def test_a_zombie_that_is_complete_and_becomes_quiet_does_not_write(lab):
    # Given a robot that has all parts and has to be quiet for a while yet
    run_control = begin(lab, quiet_us=3_000_000)
    horse = horse_of(lab, "rq:r00")
    # When it is stopped with its RQ worker, its next life is born, and it alone goes on
    os.kill(horse, signal.SIGSTOP)
    lab.fleet.signal("rq:r00", signal.SIGSTOP)
    supervise_until(lab, lambda: births(lab, "r00") >= 2, "r00")
    os.kill(horse, signal.SIGCONT)
    # Then it ends as soon as it is quiet, and the later life is the one that writes
    await_true(lambda: not is_alive(horse), what="the zombie's end")
    await_true(lambda: lab.evidence.collect().writes, what="the write")
    assert lab.evidence.collect().writes[0].incarnation == 2
    assert "quiet" not in str([row for row in lab.evidence.collect().journals["r00"] if row.incarnation == 1])
    lab.fleet.signal("rq:r00", signal.SIGCONT)
    assert lab.await_death("rq:r00").status == FENCED
    run_control.order("stop")


def test_a_horse_that_is_stopped_costs_its_rq_worker_nothing(lab):
    # Given a robot that gossips
    begin(lab)
    worker, horse = lab.fleet.living["rq:r00"], horse_of(lab, "rq:r00")
    # When its horse is stopped
    os.kill(horse, signal.SIGSTOP)
    # Then its RQ worker is faster than a supervisor: it kills the horse, and the robot lives again, once
    supervise_until(lab, lambda: births(lab, "r00") == 2, "r00")
    assert not is_alive(horse)
    keep_supervising(lab, "r00")
    assert births(lab, "r00") == 2
    assert lab.fleet.living["rq:r00"] == worker
    # and the death is on record
    [death] = lab.fleet_rows()
    assert (death.victim, death.robot, death.incarnation, death.how) == ("r00", "r00", 1, "silent")
