"""Tells what happens in a run as sentences for people, one line per story: pure, from events to sentences."""
