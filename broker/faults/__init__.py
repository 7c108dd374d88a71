"""The fault plan as a language and as data: pure, without clock or I/O, and without chance but for the dice."""
