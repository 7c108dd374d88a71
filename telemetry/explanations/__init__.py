"""Why something is as it is in a run: pure functions from a run's history to explanations for people and programs."""
