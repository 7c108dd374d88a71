"""A run of robots, whether live or simulated: its deal, leader, chaos, stop rule and the rows of its record."""
