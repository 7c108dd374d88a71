"""Draws the page of faults, and knows its knobs: what they are set to, and which requests a change of one makes."""
