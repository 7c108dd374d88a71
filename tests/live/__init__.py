"""Whole live runs: a real server, real processes, and promises that hold whatever happens to them."""
