"""Draws the page of events: those that a person wants to see as a list, and one message with its whole life."""
