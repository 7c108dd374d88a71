"""The folder of a run:
names, formats and seal of what is kept. The judge reads the files itself, never through here.
"""
