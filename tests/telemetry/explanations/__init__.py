"""Explanations of runs, from histories that are made by hand and from simulated ones."""
