"""A whole run in one process and in virtual time. One seed gives one history, bit for bit."""
