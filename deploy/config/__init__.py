"""What a person may set, where it is read, and the experiment that comes of it; nothing is started here."""
