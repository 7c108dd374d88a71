"""Tests of the relay without a server."""
