"""One robot's ports over Redis streams: mail, journal, register."""
