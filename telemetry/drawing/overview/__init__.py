"""The page that explains a run at a glance: its panels, each of which answers one question."""
