"""The observers of events, one a file: each sees every event, does its one thing, and passes it on."""
