"""Draws the page of supervision: a tree of who restarts whom, and beside it what each process went through."""
