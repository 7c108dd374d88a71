"""Watching a live run on a terminal: what is read of it, and how the terminal is lent to the screens and taken back."""
