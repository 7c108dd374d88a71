"""The judge: reads a record and decides which promises held. It shares no code with what it judges."""
