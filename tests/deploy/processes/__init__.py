"""Tests of processes on one host: children and their janitor."""
