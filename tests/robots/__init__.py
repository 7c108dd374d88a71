"""Tests of one robot and of its parts, in memory and virtual time."""
