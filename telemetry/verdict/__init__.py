"""The judge: reads a record and says what held. It shares no code with what it judges, and never imports it."""
