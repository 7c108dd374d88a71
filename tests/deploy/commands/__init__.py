"""Tests of the commands as a person meets them."""
