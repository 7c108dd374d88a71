"""The judge's second opinion on faults: fates and effects, computed again from the plan in code of its own."""
