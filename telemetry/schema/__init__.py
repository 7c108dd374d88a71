"""What stands in a record, told from the code's own types: as a table of fields, as JSON Schema and as a document."""
