"""The promises, each a function from the evidence to a finding."""
