"""What it takes to observe a run that another process leads, or that is over: which run is meant, and all that is known
of it.
"""
