"""What the scripts that run one lab after the other have in common: seeds, a folder, a line a run, the count. No tests
here."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Run = Callable[[int, Path], tuple[str, str]]
"""Runs the lab of a seed in a folder: how it ended (a verdict, or what it is instead), and a line about it."""


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser for seeds and folder, with the script's own text."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", help="one seed, or first..last")
    parser.add_argument("--keep", type=Path, help="a folder for the records; without it they are removed")
    return parser


def sweep(given: argparse.Namespace, run: Run) -> int:
    """Run all seeds. The exit status: 1 when a verdict is BROKEN, or there is none."""
    first, _, last = given.seeds.partition("..")
    verdicts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(int(first), int(last or first) + 1):
            ended, line = run(seed, given.keep or Path(temporary))
            verdicts[ended] += 1
            print(f"{seed:5}  {ended:<8}  {line}", flush=True)
    print("  ".join(f"{ended} {count}" for ended, count in verdicts.most_common()))
    return int(not verdicts.keys() <= {"HELD", "UNPROVEN"})
