"""Tests of the broker, folder by folder as it is laid out."""
