"""The streams of a whole run: its orders, plan, fleet log, events, lease and evidence."""
