"""Anomalies: rules over a run's events that find what is unusual while it lasts, live, simulated and from a record."""
