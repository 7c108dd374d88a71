"""A whole run in one process and in virtual time: one seed gives one history, bit for bit."""
