"""Tests of the lines of plain text in which people read a run."""
