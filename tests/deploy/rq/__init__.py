"""Tests of RQ workers, jobs and leases, on a real server."""
