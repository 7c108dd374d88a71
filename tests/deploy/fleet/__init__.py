"""Tests of who restarts the dead on one host."""
