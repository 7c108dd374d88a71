"""The errors that end a command with one line: what a person may not ask for, and what the environment lacks."""

from __future__ import annotations


class Unrepeatable(Exception):
    """The record does not hold what it takes to run it again; the message is one line."""


class NoMetadata(Exception):
    """The run was dealt without papers, or with such that cannot be read here; the message is one line."""


class EnvironmentFailure(Exception):
    """This machine or its server cannot do what was asked; the message is one line."""


class UsageError(Exception):
    """A setting is not allowed; the message is the one line that says which, and what is."""
