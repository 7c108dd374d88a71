"""Tests of what observes a run: which run is meant, its events, and handlers beside it."""
