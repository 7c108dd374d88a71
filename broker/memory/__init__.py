"""The ports in memory, for simulations and tests; they serialise everything that they carry, like the real ones."""
