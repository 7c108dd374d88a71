"""The folder of a run: names, formats and seal of its files, and a reader of typed rows. The judge reads the files
with a reader of its own.
"""
