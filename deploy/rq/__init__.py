"""RQ and nothing else: the worker that runs one robot, its job and leases, and what can be seen of the queue."""
