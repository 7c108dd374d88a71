"""Tests of the stories that a run is told in."""
