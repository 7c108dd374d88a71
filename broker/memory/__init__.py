"""The ports in memory, for simulations and tests; they serialise all that they carry, like the real ones."""
