"""The ports over Redis streams: the only room that speaks to Redis for the broker."""
