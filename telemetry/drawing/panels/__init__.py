"""The panels of the overview: each draws one question about a run into the size that it is given."""
