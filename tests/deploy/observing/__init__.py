"""Tests of how a run is observed that another process leads, or that is over."""
