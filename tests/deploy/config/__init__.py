"""Tests of what a person asks for: settings, fault plans, and runs that are repeated."""
