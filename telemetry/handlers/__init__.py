"""The handlers of events, one a file: each handles every event in one way, and passes it on."""
