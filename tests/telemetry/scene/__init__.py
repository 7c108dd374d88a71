"""The scene of a run at one moment: its tables, and the one word for how each robot is."""
