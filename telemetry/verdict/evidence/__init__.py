"""The files of a record, read and put in order, without any opinion on what they should hold."""
