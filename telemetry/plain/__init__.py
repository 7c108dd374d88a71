"""A run as lines of plain text for pipes, logs and small terminals: its progress, and its verdict. Time is given."""
