"""What the RQ workers of a host print when they are ended. Real robots are in tests/live/test_cluster_scaling.py."""

from __future__ import annotations

from deploy.fleet.worker_group import handed_back
from deploy.rq.observed import JobSeen


def test_robots_that_were_handed_back_are_named_with_what_became_of_them() -> None:
    jobs = [
        JobSeen("r00", "waiting"),
        JobSeen("r01", "running", "w9"),
        JobSeen("r02", "waiting"),
        JobSeen("r05", "lost"),
    ]
    assert handed_back("abc123", jobs) == (
        "run abc123: r00, r02 handed back, waiting for another RQ worker; r01 handed back, run by another RQ worker;"
        " r05 not handed back: lost until the lease is over"
    )


def test_robots_of_a_run_that_is_over_are_handed_back_to_none() -> None:
    assert (
        handed_back("abc123", [JobSeen("r00", "done"), JobSeen("r01", "done")])
        == "run abc123: r00, r01 not handed back: over"
    )
