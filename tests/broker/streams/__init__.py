"""Tests of the ports over Redis streams, on a real server."""
