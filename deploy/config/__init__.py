"""What a person may set, where it is read, and the experiment made from it. Nothing is started here."""
