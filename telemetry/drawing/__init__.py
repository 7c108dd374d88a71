"""Draws the pages of a run as lines of styled text: pure, from a moment of the run to lines, with no terminal."""
