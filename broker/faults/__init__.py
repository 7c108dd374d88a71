"""The fault plan as a language and as data; everything here is pure: no clock, no I/O, no chance but the dice."""
