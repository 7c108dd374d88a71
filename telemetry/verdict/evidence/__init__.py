"""What the files of a record say, read and checked, without any opinion on what should be in them."""
