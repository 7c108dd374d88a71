"""Watching a live run: the terminal, the reader, the stage and the plain lines."""
