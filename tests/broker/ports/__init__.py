"""Tests of what every driver of the ports promises, one file per port."""
