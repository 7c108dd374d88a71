"""What can be known of a live run from outside of it, and how to reach it."""
