"""What it takes to observe a run that another process leads, or that is over: which run is meant, all that is known
of it, its events as they come, and a user's handlers beside it.
"""
