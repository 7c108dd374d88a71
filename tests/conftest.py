"""Fixtures that several files of tests share."""

from live_place import place

__all__ = ["place"]
