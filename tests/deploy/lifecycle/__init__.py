"""Tests of how a run is closed and recorded."""
