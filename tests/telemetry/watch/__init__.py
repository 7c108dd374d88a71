"""The app and the replay: every key, and what the screens show of a recorded run."""
