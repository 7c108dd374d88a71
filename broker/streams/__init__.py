"""The ports over Redis streams, and the relay's process. All of Redis (but not the embedded server) lives in here."""
