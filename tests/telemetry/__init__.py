"""Tests of events: how they travel, and how people see them."""
