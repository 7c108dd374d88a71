"""What the screens of a run show, folded from scripted events and from simulated runs."""
