"""The processes of a run on this host, and their restarts."""
