"""Events between processes: published in batches, spilled to a file, read back in order."""
