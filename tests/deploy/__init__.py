"""Tests of how robots become processes, and of the commands."""
