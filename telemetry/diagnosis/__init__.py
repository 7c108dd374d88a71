"""Why a run makes no progress: from the state of a run and the plan in force to one line for people."""
