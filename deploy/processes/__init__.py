"""The mechanics of processes on one host: forks, signals, pidfds, the janitor, the private server."""
