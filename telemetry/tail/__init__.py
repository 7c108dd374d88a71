"""Events for a person who reads along: which of them, and each as one line. Pure: events in, text out."""
