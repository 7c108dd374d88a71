"""The supervisor of a live run: it leads under a lease, looks after the robots, and injects process faults."""
