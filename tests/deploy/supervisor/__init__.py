"""Tests of who leads a live run."""
