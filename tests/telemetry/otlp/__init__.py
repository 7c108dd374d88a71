"""Tests of where traces go: encoder, endpoint, exporters and delivery, against the official encoder and a collector."""
