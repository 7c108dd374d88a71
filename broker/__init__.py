"""How envelopes travel: ports, plan, faults, relay and their drivers. May import telemetry; never robots or deploy."""
