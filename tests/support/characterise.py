"""A characterisation net: what the lab does today, as one JSON file that two states of the code can be compared by.

Run it before and after a change that must change nothing:

    python tests/support/characterise.py before.json --records RECORDS     # and again, after the change: after.json
    diff before.json after.json

It holds the digest of 160 simulated runs (20 seeds x 4 presets x {none, chaos}), the verdict on every record in the
folder RECORDS, and every help text. It asserts nothing itself, and is no test.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SEEDS = range(20)
PRESETS = ("calm", "lossy", "storm", "split")
CHAOS = ("kill robot every 500ms", "crash r03/secret_merger @1s", "contradict r02 @1500ms", "pause r01 @2s+1s")
COMMANDS = (
    "", "run", "simulate", "verify", "deal", "worker", "supervise", "stop", "relay", "kill", "pause", "resume",
    "crash", "runs", "ps", "faults", "faults show", "faults set", "faults clear", "faults heal",
)  # fmt: skip


def robots(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command `robots` of this checkout."""
    command = [sys.executable, "-m", "deploy", *arguments]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "COLUMNS": "100", "PYTHONHASHSEED": "random"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def simulated(seed: int, preset: str, has_chaos: bool, place: Path) -> tuple[str, str]:
    chaos = [word for text in CHAOS for word in ("--chaos", text)] if has_chaos else []
    arguments = ["--seed", str(seed), "--preset", preset, "--for", "4s", "--json", *chaos]
    done = robots("simulate", *arguments, cwd=place)
    name = f"{preset} {seed} {'chaos' if has_chaos else 'none'}"
    digest = json.loads(done.stdout)["digest"] if done.stdout else done.stderr
    return name, f"{digest} exit {done.returncode}"


def verified(record: Path, place: Path) -> tuple[str, object]:
    done = robots("verify", str(record.resolve()), "--json", cwd=place)
    result: object = json.loads(done.stdout) if done.stdout else done.stderr
    return record.name, {"exit": done.returncode, "result": result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--records", type=Path)
    options = parser.parse_args()
    records: Iterable[Path] = sorted(options.records.iterdir()) if options.records else ()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        place = Path(folder)
        runs = [(seed, preset, chaos) for preset in PRESETS for chaos in (False, True) for seed in SEEDS]
        digests = dict(pool.map(lambda run: simulated(*run, place), runs))
        verdicts = dict(pool.map(lambda record: verified(record, place), records))
        texts = pool.map(lambda name: robots(*name.split(), "--help", cwd=place).stdout, COMMANDS)
        found = {"simulated": digests, "verified": verdicts, "help": dict(zip(COMMANDS, texts, strict=True))}
    options.file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
