"""Questions that several promises ask of the evidence."""
