"""How fast the lab is; scripts, run by hand."""
