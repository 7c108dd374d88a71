"""Exhibits: labs that are broken on purpose, each in one place. The judge is tested with them: it must convict each."""
