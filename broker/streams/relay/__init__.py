"""The relay's I/O:
it reads outboxes, asks the core for fates, and writes the copies, under a lease of its shard.
"""
