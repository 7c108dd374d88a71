"""The pages of a run as text, at the sizes of real terminals."""
