"""Draws the page of robots: a table of all of them, and one robot in detail, in four tabs."""
