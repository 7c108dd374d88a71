"""What a robot is, and a run of robots: secret, knowledge, protocol, workers, supervision, simulation.

Imports broker and telemetry, never deploy. It must never use Redis, RQ, a clock or randomness of its own.
"""
