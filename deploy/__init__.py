"""How robots become processes, and where they run. The top floor: it may import all others; nothing imports it."""
