"""What the screens of a run show, folded from its events: pure, in the run's own time, and drawn elsewhere."""
