"""Where this checkout lies, whose code and commands are tried. No tests here."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
