"""What is seen of jobs and RQ workers: who is lost, and who is idle."""

from __future__ import annotations

import sys

import pytest

from deploy.rq.leases import LEASE_S
from deploy.rq.observed import ALIVE_S, IdleWorkers, JobSeen, LostJobs, WorkerSeen, kept_name

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="live runs are for Linux")]


# Who is lost.


def running(until_s, state="running"):
    return JobSeen("r00", state, "w", "robot-t-r00:x", until_s, 0.5)


def poll_every(lost, seen, start_s, end_s, step_s=0.25):
    """What is lost at the end of looking that often at a job that does not change."""
    found, now_s = [], start_s
    while now_s <= end_s:
        found, now_s = lost.among([seen], now_s), now_s + step_s
    return found


@pytest.mark.parametrize("seen", [running(7), running(7, "lost"), JobSeen("r00", "taken"), JobSeen("r00", "lost")])
def test_a_job_of_which_nothing_is_received_is_lost(seen):
    lost = LostJobs()
    assert poll_every(lost, seen, 0, LEASE_S - 0.25) == []
    assert poll_every(lost, seen, LEASE_S, LEASE_S) == [seen]


def test_a_job_that_was_reported_to_be_lost_has_a_whole_lease_again():
    # Given a job that is lost, is queued again, and is taken again before we look
    lost = LostJobs()
    assert poll_every(lost, JobSeen("r00", "taken"), 0, LEASE_S) != []
    # Then it is not lost once more
    assert poll_every(lost, JobSeen("r00", "taken"), LEASE_S + 0.25, 2 * LEASE_S - 0.25) == []
    assert poll_every(lost, JobSeen("r00", "taken"), 2 * LEASE_S, 2 * LEASE_S) != []


def test_a_job_whose_lease_is_renewed_is_not_lost_whatever_the_clocks_state():
    # Given an RQ worker whose clock is an hour behind: its lease looks as if it had always run out
    lost = LostJobs()
    for second in range(10):
        assert poll_every(lost, running(second - 3600, "lost"), second, second + 0.75) == []


def test_a_lease_that_runs_out_between_two_polls_is_no_change():
    lost = LostJobs()
    poll_every(lost, running(7, "running"), 0, 2)
    assert poll_every(lost, running(7, "lost"), 2.25, LEASE_S) != []


def test_after_an_outage_everybody_has_a_whole_lease_again():
    # Given a job that was not renewed for a while, and then a time in which we could not look
    lost = LostJobs()
    poll_every(lost, running(7), 0, 2.5)
    # Then only what is seen from then on counts
    assert poll_every(lost, running(7, "lost"), 9, 9 + LEASE_S - 0.25) == []
    assert poll_every(lost, running(7, "lost"), 9 + LEASE_S, 9 + LEASE_S) != []


@pytest.mark.parametrize("state", ["queued", "waiting", "done"])
def test_a_job_that_no_worker_has_is_never_lost(state):
    assert poll_every(LostJobs(), JobSeen("r00", state), 0, 10) == []


# Who is idle.


def beats(name: str, state: str, beat: float) -> WorkerSeen:
    return WorkerSeen(name, state, str(beat))


def test_an_rq_worker_that_was_killed_while_idle_is_not_idle() -> None:
    # Given two that RQ knows as idle, of which one beats
    idle = IdleWorkers()
    for quarter in range(20):
        found = idle.among([beats("dead", "idle", 0), beats("alive", "idle", quarter)], quarter / 4)
    assert list(found) == ["alive"]
    # When the other falls silent too / Then it is idle only as long as it may have been heard of
    assert idle.among([beats("alive", "idle", 19)], 19 / 4 + ALIVE_S) == {}


def test_an_rq_worker_that_had_work_in_between_has_been_idle_since_then() -> None:
    idle = IdleWorkers()
    assert idle.among([beats("w", "idle", 0)], 0) == {}
    assert idle.among([beats("w", "busy", 1)], 0.5) == {}
    assert idle.among([beats("w", "idle", 2)], 1.0) == {}
    assert idle.among([beats("w", "idle", 3)], 1.5) == {}
    assert idle.among([beats("w", "idle", 4)], 2.0) == {"w": 1.0}


@pytest.mark.parametrize("name", ["lab.w1", "abcdefg.w1", "abc12.w1", "ABC123.w1", "abc123.w1x"])
def test_only_names_as_a_parent_gives_them_are_kept_for_its_own_robots(name: str) -> None:
    # Given an RQ worker that a person has named, and one that a parent keeps, both idle
    idle = IdleWorkers()
    names = [name, kept_name("0a1b2c", 1, 1), kept_name("0a1b2c", 1, 2)]
    # When they have been idle for long
    for quarter in range(8):
        found = idle.among([beats(worker, "idle", quarter) for worker in names], quarter / 4)
    # Then the person's is free
    assert list(found) == [name]
