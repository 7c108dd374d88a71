"""Tests of whole runs in virtual time."""
