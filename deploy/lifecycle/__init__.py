"""A live run from its deal to its record."""
