"""What each process of a run went through, and the workers inside each robot: folds over events that a scene holds."""
