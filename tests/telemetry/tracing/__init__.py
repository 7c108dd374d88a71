"""Traces that are derived from events, fates and deaths: as text, and as values."""
