"""The live terminal view: a Textual app that paints the pages of a run and turns keys into requests; it reads only."""
