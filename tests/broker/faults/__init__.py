"""Tests of the fault plan as language and as data."""
