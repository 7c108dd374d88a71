"""Events on their way from one process to another: published in batches, spilled to a file, read back in order."""
