"""What is known of a live run from outside."""
