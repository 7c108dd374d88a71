"""The house itself: its architecture, its style, and what its README says."""
