"""The promises, one a file and named like it: each is a function from the evidence to a finding."""
