"""Tests of metrics: the table, the fold from events, and each rendering."""
