"""The relay without I/O: entries and times go in, fates and copies come out."""
