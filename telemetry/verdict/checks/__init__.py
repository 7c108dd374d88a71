"""Checks that several promises share; each promise makes its own finding of them."""
