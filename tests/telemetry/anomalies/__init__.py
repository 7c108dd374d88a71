"""Anomalies: each rule begins, ends, and is silent while a run is healthy; hand-made events in virtual time."""
