"""A run of robots, live or simulated: its deal, leader, chaos, stop rule and the rows of its record."""
