"""What a robot is: secret, knowledge, protocol, workers, channels, supervision, simulation.

May import broker and telemetry; never deploy. No Redis, no RQ, no clock and no randomness of its own in here.
"""
